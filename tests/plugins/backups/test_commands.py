"""``rooftree backup``, as somebody types it."""

from __future__ import annotations

import asyncio
import json
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rooftree.cli import rooftree
from rooftree.interfaces.backups import PartContents
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.plugins.backups.house import House, house

PASSWORD = {"BACKUP_PASSWORD": "mine"}


async def typed(*words: str, socket: Path | None = None, piped: bytes = b"", **variables: str) -> Result:
    """Run it, as it is installed."""
    command = [*(["--socket", str(socket)] if socket else []), "backup", *words]
    return await asyncio.to_thread(CliRunner().invoke, rooftree, command, input=piped, env=variables)


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

    assert (silent.exit_code, made.exit_code, entry["protected"], verified.exit_code) == (2, 0, True, 0)
    assert "nobody is there to be asked; write it to the standard input, or into BACKUP_PASSWORD" in silent.stderr
    assert "Warning" not in silent.stderr + made.stderr


async def test_backup_is_made_listed_shown_verified_and_deleted(home: House) -> None:
    socket = home.system.settings.kernel.socket

    reads_settings = {"ROOFTREE_SOCKET": str(socket)}  # of which the password is none
    made = await typed("create", "--name", "By hand", "--core", **reads_settings, **PASSWORD)
    assert (made.exit_code, made.stderr) == (0, "")
    ((slug, entry),) = (await home.listed()).items()
    assert made.stdout.startswith(f"Made the backup {slug}")
    assert (entry["name"], entry["protected"]) == ("By hand", True)
    listed = await typed("list", socket=socket)
    assert listed.stdout.splitlines()[1].split()[0] == slug
    assert f"{entry['size_bytes'] / 1024**2:.1f} MiB" in listed.stdout
    assert "Core (protected)" in listed.stdout
    shown = await typed("show", "--json", slug, socket=socket)
    assert json.loads(shown.stdout)["homeassistant"] == "2026.11.0"
    assert (await typed("verify", slug, socket=socket, **PASSWORD)).exit_code == 0
    assert (await typed("verify", slug, socket=socket)).exit_code != 0
    assert (await typed("delete", slug, socket=socket)).exit_code == 0
    assert await home.listed() == {}


async def test_deletion_in_a_place_that_does_not_hold_the_backup_is_refused(home: House) -> None:
    socket = home.system.settings.kernel.socket
    await typed("create", "--core", socket=socket)
    (slug,) = await home.listed()

    refused = await typed("delete", slug, "--location", "nas", socket=socket)

    assert refused.exit_code == 1 and "is not in nas; it is in .local" in refused.stderr
    assert set(await home.listed()) == {slug}
    assert (await typed("delete", slug, "--location", ".local", socket=socket)).exit_code == 0
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

    assert (whole.exit_code, whole.stdout) == (0, f"{path} is whole.\n")
    assert locked.exit_code == 1
    assert "Invalid password for backup" in locked.stderr
    assert "damaged" not in locked.stdout
    assert damaged.exit_code == 1
    assert json.loads(damaged.stdout)["whole"] is False


async def test_schedule_is_set_listed_and_forgotten(home: House) -> None:
    socket = home.system.settings.kernel.socket

    words = ("schedule", "set", "nightly", "30 3 * * *", "--keep-daily", "7", "--location", ".local")
    assert (await typed(*words, socket=socket)).exit_code == 0
    listed = await typed("schedule", "list", socket=socket)
    assert "nightly" in listed.stdout
    assert "7 daily" in listed.stdout
    assert (await typed("schedule", "delete", "nightly", socket=socket)).exit_code == 0
    refused = await typed("schedule", "set", "nightly", "now", socket=socket)
    assert refused.exit_code != 0
    assert "five fields" in refused.stderr


async def test_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """In a process of its own, as all of this is in a house."""
    path = tmp_path / "1a2b3c4d.tar"
    command = [sys.executable, "-m", "rooftree.cli", "backup", "verify", str(path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)

    output, errors = await process.communicate()

    assert (process.returncode, output, errors.decode()) == (1, b"", f"Error: There is no file {path}\n")


async def test_partial_backup_is_restored_whole_where_nothing_of_it_is_named(home: House) -> None:
    socket = home.system.settings.kernel.socket
    (home.system.settings.kernel.data_dir / "ssl").mkdir(exist_ok=True)
    slug = (await home.client.post("/backups/new/partial", json={"folders": ["ssl"]})).data["slug"]

    planned = await typed("restore", "--plan", slug, socket=socket)
    unknown = await typed("restore", "1a2b3c4d", socket=socket)

    assert (planned.exit_code, planned.stderr) == (0, "")
    assert "ssl" in planned.stdout
    assert "There is no backup 1a2b3c4d" in unknown.stderr
