"""A part of a million files: packed, read back and unpacked by a worker that needs no more memory for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rooftree.interfaces.backups import PartContents, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.model import Secret
from rooftree_archives import archive_reader, archive_writer
from tests.plugins.archives.test_writer import workers_of
from tests.plugins.archives.trees import MIB, SHARE, head, quiet

FILES = int(os.environ.get("ROOFTREE_TORTURE_FILES", "1000000"))
IN_A_FOLDER = 50_000


def peak_memory() -> int:
    """Bytes that the worker had at most, libraries included."""
    (worker,) = workers_of(os.getpid())
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


@pytest.mark.torture
@pytest.mark.timeout(3600)
async def test_a_million_files_take_no_more_memory(tmp_path: Path) -> None:
    for number in range(FILES // IN_A_FOLDER):
        folder = tmp_path / f"data/share/{number}"
        folder.mkdir(parents=True)
        for name in range(IN_A_FOLDER):
            os.close(os.open(folder / f"file {name}", os.O_CREAT | os.O_WRONLY))
    contents = PartContents(trees=(PartTree(source=DataPath("share"), name=""),))

    async with archive_writer(tmp_path / "a.tar", data_folder=tmp_path / "data", password=Secret("p")) as writer:
        await writer.add(SHARE, contents, quiet)
        await writer.publish(head(folders=("share",), protected=True), quiet)
        assert peak_memory() <= 64 * MIB
    async with archive_reader(tmp_path / "a.tar", Secret("p")) as reader:
        await reader.unpack(SHARE.id, tmp_path / "back", quiet)
        assert peak_memory() <= 64 * MIB

    root = tmp_path / "back/trees/root"
    assert sum(len(files) for _, _, files in os.walk(root)) == FILES // IN_A_FOLDER * IN_A_FOLDER
