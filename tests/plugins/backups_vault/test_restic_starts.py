"""How often restic is started for a backup: each start derives the key anew, which takes longer than what is new."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen

from rooftree.interfaces.backups import BackupPart, PartContents, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.interfaces.vaults import VaultUnreachable
from rooftree_backups_vault.restic import Restic
from rooftree_backups_vault.stored_backups import TAG
from tests.plugins.backups_vault.vault_house import (
    LAMP,
    VaultHouse,
    head_of,
    lamp_contents,
    needs_restic,
    quiet,
)

pytestmark = needs_restic


@frozen
class Starts:
    """A restic in front of the real one, which writes down how it is started and can be told to fail at once."""

    folder: Path

    def commands(self) -> Sequence[str]:
        """The commands so far, ``head`` for that which waits for a content."""
        lines = (self.folder / "starts").read_text().splitlines() if (self.folder / "starts").exists() else []
        return ["head" if "--stdin" in line.split() else line.split()[0] for line in lines]

    def fail(self, *, fails: bool) -> None:
        """Whether each start fails from now on."""
        (self.folder / "fails").unlink(missing_ok=True)
        if fails:
            (self.folder / "fails").touch()

    async def failed(self) -> None:
        """Once one has failed."""
        while not (self.folder / "failed").exists():
            await asyncio.sleep(0)


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """A restic that is watched."""
    folder = tmp_path / "bin"
    folder.mkdir()
    real, place = shlex.quote(shutil.which("restic") or ""), shlex.quote(str(folder))
    script = f"""#!/bin/sh
echo "$@" >> {place}/starts
if [ -e {place}/fails ]; then touch {place}/failed; echo "Fatal: connection refused" >&2; exit 1; fi
exec {real} "$@"
"""
    (folder / "restic").write_text(script)
    (folder / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Starts(folder)


def share_contents(house: VaultHouse) -> PartContents:
    (house.data / "share").mkdir(exist_ok=True)
    (house.data / "share" / "a").write_text("a")
    return PartContents(trees=(PartTree(source=DataPath("share"), name=""),))


async def test_backup_starts_restic_once_for_each_part_and_once_for_its_head_before_the_last_part(
    house: VaultHouse, starts: Starts
) -> None:
    await house.back_up(local_lamp=lamp_contents(), share=share_contents(house))

    assert sorted(starts.commands()) == ["backup", "backup", "head"]
    assert starts.commands()[-1] == "backup"


async def test_head_is_stored_though_the_restic_that_waited_for_it_is_gone(house: VaultHouse, starts: Starts) -> None:
    starts.fail(fails=True)
    async with house.cellar.writer("0badcafe", None) as writer:
        await starts.failed()
        starts.fail(fails=False)
        await writer.add(BackupPart(id=LAMP, name="Lamp"), lamp_contents(), quiet)
        await writer.publish(head_of("0badcafe"), quiet)

    await house.cellar.reload()
    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcafe"]


async def test_backup_whose_head_can_not_be_stored_is_none_and_leaves_nothing(
    house: VaultHouse, starts: Starts
) -> None:
    starts.fail(fails=True)
    with pytest.raises(VaultUnreachable, match="does not answer"):
        async with house.cellar.writer("0badcafe", None) as writer:
            await starts.failed()
            starts.fail(fails=False)
            await writer.add(BackupPart(id=LAMP, name="Lamp"), lamp_contents(), quiet)
            starts.fail(fails=True)
            try:
                await writer.publish(head_of("0badcafe"), quiet)
            finally:
                starts.fail(fails=False)

    assert house.cellar.backups() == []
    assert await Restic().snapshots(house.vaults.access("cellar"), TAG) == []


async def test_document_that_nobody_gives_a_content_is_no_snapshot_and_no_restic_stays(house: VaultHouse) -> None:
    access = house.vaults.access("cellar")

    async with Restic().document(access, "head.json", ("rooftree",)):
        pass

    assert await Restic().snapshots(access, "rooftree") == []
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if _is_of(path, str(house.data))]


def _is_of(environ: Path, data: str) -> bool:
    try:
        return f"RESTIC_REPOSITORY={data}".encode() in environ.read_bytes()
    except OSError:
        return False
