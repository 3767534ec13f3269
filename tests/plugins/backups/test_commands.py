"""``rooftree backup``, as somebody types it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import frozen

from rooftree.interfaces.backups import PartContents
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.plugins.backups.house import House, house

PASSWORD = {"BACKUP_PASSWORD": "mine"}


@frozen
class Ended:
    code: int
    output: str
    errors: str


async def typed(*words: str, socket: Path | None = None, piped: bytes = b"", **variables: str) -> Ended:
    command = [sys.executable, "-m", "rooftree.cli", *(["--socket", str(socket)] if socket else []), "backup", *words]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=-1, stderr=-1, stdin=-1, env={**os.environ, **variables}
    )
    output, errors = await process.communicate(piped)
    return Ended(process.returncode or 0, output.decode(), errors.decode())


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, real=True, plugins=[SupervisorPlugin]) as running:
        running.core.contents = PartContents(documents={"homeassistant.json": b"{}"})
        yield running


async def test_password_is_read_where_nobody_is_there_to_be_asked(home: House) -> None:
    socket = home.system.settings.kernel.socket

    silent = await typed("create", "--name", "None", "--core", "--ask-password", socket=socket)
    made = await typed("create", "--name", "Piped", "--core", "--ask-password", socket=socket, piped=b"mine\n")
    ((slug, entry),) = (await home.listed()).items()
    verified = await typed("verify", slug, socket=socket, **PASSWORD)

    assert (silent.code, made.code, entry["protected"], verified.code) == (2, 0, True, 0)
    assert "nobody is there to be asked; write it to the standard input, or into BACKUP_PASSWORD" in silent.errors
    assert "Warning" not in silent.errors + made.errors


async def test_backup_is_made_listed_shown_verified_and_deleted(home: House) -> None:
    socket = home.system.settings.kernel.socket

    reads_settings = {"ROOFTREE_SOCKET": str(socket)}  # of which the password is none
    made = await typed("create", "--name", "By hand", "--core", **reads_settings, **PASSWORD)
    assert (made.code, made.errors) == (0, "")
    ((slug, entry),) = (await home.listed()).items()
    assert made.output.startswith(f"Made the backup {slug}")
    assert (entry["name"], entry["protected"]) == ("By hand", True)
    listed = await typed("list", socket=socket)
    assert listed.output.splitlines()[1].split()[0] == slug
    assert f"{entry['size_bytes'] / 1024**2:.1f} MiB" in listed.output
    assert "Core (protected)" in listed.output
    shown = await typed("show", "--json", slug, socket=socket)
    assert json.loads(shown.output)["homeassistant"] == "2026.11.0"
    assert (await typed("verify", slug, socket=socket, **PASSWORD)).code == 0
    assert (await typed("verify", slug, socket=socket)).code != 0
    assert (await typed("delete", slug, socket=socket)).code == 0
    assert await home.listed() == {}


async def test_deletion_in_a_place_that_does_not_hold_the_backup_is_refused(home: House) -> None:
    socket = home.system.settings.kernel.socket
    await typed("create", "--core", socket=socket)
    (slug,) = await home.listed()

    refused = await typed("delete", slug, "--location", "nas", socket=socket)

    assert refused.code == 1 and "is not in nas; it is in .local" in refused.errors
    assert set(await home.listed()) == {slug}
    assert (await typed("delete", slug, "--location", ".local", socket=socket)).code == 0
    assert await home.listed() == {}


async def test_file_is_verified_without_a_daemon(home: House, tmp_path: Path) -> None:
    body = {"homeassistant": True, "password": "mine"}
    slug = (await home.client.post("/backups/new/partial", json=body)).data["slug"]
    path = home.local / f"{slug}.tar"

    whole = await typed("verify", str(path), **PASSWORD)
    locked = await typed("verify", str(path))
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        member = tar.getmember("homeassistant.tar.gz")
    content[member.offset_data + member.size - 20] ^= 1
    altered = tmp_path / "altered.tar"
    altered.write_bytes(content)
    damaged = await typed("verify", "--json", str(altered), **PASSWORD)

    assert (whole.code, whole.output) == (0, f"{path} is whole.\n")
    assert locked.code == 1
    assert "Invalid password for backup" in locked.errors
    assert "damaged" not in locked.output
    assert damaged.code == 1
    assert json.loads(damaged.output)["whole"] is False


async def test_schedule_is_set_listed_and_forgotten(home: House) -> None:
    socket = home.system.settings.kernel.socket

    words = ("schedule", "set", "nightly", "30 3 * * *", "--keep-daily", "7", "--location", ".local")
    assert (await typed(*words, socket=socket)).code == 0
    listed = await typed("schedule", "list", socket=socket)
    assert "nightly" in listed.output
    assert "7 daily" in listed.output
    assert (await typed("schedule", "delete", "nightly", socket=socket)).code == 0
    refused = await typed("schedule", "set", "nightly", "now", socket=socket)
    assert refused.code != 0
    assert "five fields" in refused.errors


async def test_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    ended = await typed("verify", str(tmp_path / "1a2b3c4d.tar"))

    assert (ended.code, ended.errors) == (1, f"Error: There is no file {tmp_path / '1a2b3c4d.tar'}\n")


async def test_partial_backup_is_restored_whole_where_nothing_of_it_is_named(home: House) -> None:
    socket = home.system.settings.kernel.socket
    (home.system.settings.kernel.data_dir / "ssl").mkdir(exist_ok=True)
    slug = (await home.client.post("/backups/new/partial", json={"folders": ["ssl"]})).data["slug"]

    planned = await typed("restore", "--plan", slug, socket=socket)
    unknown = await typed("restore", "1a2b3c4d", socket=socket)

    assert (planned.code, planned.errors) == (0, "")
    assert "ssl" in planned.output
    assert "There is no backup 1a2b3c4d" in unknown.errors
