"""Vaults and what else keeps backups, as Home Assistant finds them: among the mounts for backups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import MountUsage
from attrs import frozen

from rooftree import Plugin, hookimpl
from rooftree.interfaces.backups import BackupLocation
from rooftree.interfaces.mounts import MOUNTS, MountNotFound
from rooftree.process import System
from rooftree.testing import Client, running_system
from rooftree_mounts.plugin import MountsPlugin


@frozen
class Cellar:
    """A place for backups; of it only what is asked for here."""

    name: str = "cellar"

    def backups(self) -> list[tuple[None, int]]:
        """Two, by what they take."""
        return [(None, 700), (None, 30)]


class CellarPlugin(Plugin):
    """A domain that has it."""

    name = "cellars"

    @hookimpl
    def backup_locations(self) -> list[BackupLocation]:
        return [Cellar()]  # type: ignore[list-item]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[MountsPlugin, CellarPlugin]) as system:
        yield system


async def test_vault_is_among_the_mounts_for_backups_where_home_assistant_looks(system: System, tmp_path: Path) -> None:
    token = await asyncio.to_thread((tmp_path / "data" / "admin-token").read_text)
    connector = aiohttp.UnixConnector(path=str(system.settings.kernel.socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        info = await SupervisorClient("http://rooftree", token.strip(), session=session).mounts.info()

    assert [(mount.name, mount.usage, mount.state) for mount in info.mounts] == [
        ("cellar", MountUsage.BACKUP, "active")
    ]
    assert info.default_backup_mount is None


async def test_vault_takes_what_its_backups_take(system: System) -> None:
    usage = await system.services.get(MOUNTS).usage("cellar", 1)

    assert (usage.used_bytes, usage.total_bytes) == (730, None)
    with pytest.raises(MountNotFound):
        await system.services.get(MOUNTS).usage("attic", 1)


async def test_vault_is_no_mount_for_who_would_change_it(system: System) -> None:
    async with Client.over_unix(system) as client:
        answers = [await client.delete("/mounts/cellar"), await client.post("/mounts/cellar/reload")]

    for answer in answers:
        assert (answer.status, answer.envelope["error_key"]) == (404, "mount_not_found_error")


async def test_no_mount_gets_the_name_of_a_vault(system: System) -> None:
    body = {"name": "cellar", "type": "nfs", "usage": "backup", "server": "192.0.2.1", "path": "/backups"}
    async with Client.over_unix(system) as client:
        answer = await client.post("/mounts", json=body)

    assert (answer.status, "called cellar already" in answer.message) == (400, True), answer.text


async def test_no_mount_of_a_backups_settings_gets_the_name_of_a_vault(system: System) -> None:
    mounts = system.services.get(MOUNTS)
    records = [
        {"name": name, "type": "nfs", "usage": "backup", "server": "192.0.2.1", "path": "/backups"}
        for name in ("cellar", "attic")
    ]

    (sentence,) = await mounts.restore({"mounts": records, "default_backup_mount": "cellar"})

    assert sentence.startswith("The mount cellar was left out: there is a vault")
    assert [mount.name for mount in mounts.mounts()] == ["attic"]
    assert mounts.default_backup_mount() is None
