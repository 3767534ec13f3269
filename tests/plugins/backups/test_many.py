"""Many backups, and large ones."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.plugins.backups.house import house
from tests.plugins.backups.plain_archives import raw_backup, write_archive
from tests.rig.pace import on_this_machine

COUNT = 1000
MIB = 1024 * 1024


def resident() -> int:
    """Bytes of memory that this process has, by proc(5)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def test_a_thousand_backups_are_listed_from_a_cold_start_and_from_the_index(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "backup"
    folder.mkdir(parents=True)
    for number in range(COUNT):
        write_archive(folder / f"{number:08x}.tar", raw_backup(f"{number:08x}"))

    async with house(tmp_path, real=True) as home:
        before = time.process_time()
        await home.reload()
        assert len(await home.listed()) == COUNT
        assert time.process_time() - before < on_this_machine(2.0), "a second on a machine that does nothing else"

    async with house(tmp_path, real=True) as home:
        before = time.process_time()
        assert len(await home.listed()) == COUNT
        assert time.process_time() - before < on_this_machine(0.5)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", [300 * MIB, pytest.param(2048 * MIB, marks=pytest.mark.torture)])
async def test_memory_stays_flat_while_a_large_backup_comes_in_and_goes_out(tmp_path: Path, size: int) -> None:
    sent, received = sha256(), sha256()
    async with house(tmp_path) as home:
        write_archive(tmp_path / "made.tar", raw_backup("aaaaaaaa"))
        head = (tmp_path / "made.tar").read_bytes()[:1536]  # the metadata; what follows is no member

        async def form() -> AsyncIterator[bytes]:
            yield b"--b\r\nContent-Type: application/octet-stream\r\n\r\n" + head
            sent.update(head)
            for number in range(size // MIB):
                piece = bytes([number % 251]) * MIB
                sent.update(piece)
                yield piece
            yield b"\r\n--b--\r\n"

        before = resident()
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await home.client.post("/backups/new/upload", body=form(), headers=headers)
        assert answer.data == {"slug": "aaaaaaaa"}
        assert resident() - before < 40 * MIB

        async with home.client.streaming("GET", "/backups/aaaaaaaa/download") as response:
            length = 0
            async for chunk in response.content.iter_chunked(MIB):
                length += len(chunk)
                received.update(chunk)
        assert length == size + 1536
        assert received.digest() == sent.digest()
        assert resident() - before < 40 * MIB
