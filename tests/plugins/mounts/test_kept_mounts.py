"""What is kept of mounts: taken over from a backup, given out for one, and which is the default."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rooftree import SecretLocked
from rooftree.interfaces.mounts import MOUNTS, MountNotFound, Mounts, MountsChanged
from rooftree.process import System
from rooftree.testing import Client, running_system
from rooftree_mounts.plugin import MountsPlugin
from tests.rig.waiting import until

PASSWORD = "made-up-cifs-password"
EXISTING: dict[str, Any] = {
    "mounts": [
        {
            "share": "backups", "server": "nas.example.com", "name": "nas_backup", "type": "cifs", "usage": "backup",
            "read_only": False, "username": "ha", "password": PASSWORD, "version": None,
        },
        {
            "path": "/volume/films", "server": "nas.example.com", "name": "films", "type": "nfs", "usage": "media",
            "read_only": True,
        },
        {
            "share": "docs", "server": "192.0.2.20", "name": "docs", "type": "cifs", "usage": "share",
            "read_only": False, "port": 1445, "version": "2.0",
        },
    ],
    "default_backup_mount": "nas_backup",
}  # fmt: skip
"""As the existing supervisor writes them."""


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[MountsPlugin]) as system:
        yield system


@pytest.fixture
def mounts(system: System) -> Mounts:
    return system.services.get(MOUNTS)


def by_name(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {record["name"]: record for record in records}


async def test_mounts_of_the_existing_supervisor_come_out_of_a_backup_as_they_went_in(mounts: Mounts) -> None:
    assert await mounts.restore(EXISTING) == ()

    exported = json.loads(json.dumps(mounts.export()))
    assert by_name(exported["mounts"]) == by_name(EXISTING["mounts"])
    assert exported["default_backup_mount"] == "nas_backup"


async def test_restored_mounts_replace_those_of_their_name_and_leave_the_others(mounts: Mounts) -> None:
    await mounts.restore(EXISTING)

    await mounts.restore({"mounts": [{**EXISTING["mounts"][2], "server": "nas2"}], "default_backup_mount": None})

    exported = by_name(mounts.export()["mounts"])
    assert exported["docs"]["server"] == "nas2"
    assert exported["films"] == EXISTING["mounts"][1]


async def test_default_backup_mount_is_restored_only_where_none_is_set(mounts: Mounts) -> None:
    await mounts.restore(EXISTING)

    other = {**EXISTING["mounts"][0], "name": "other"}
    await mounts.restore({"mounts": [other], "default_backup_mount": "other"})

    assert mounts.default_backup_mount() == "nas_backup"


@pytest.mark.parametrize("name", ["gone", "films", 5, None])
async def test_default_that_is_no_backup_mount_is_not_restored(mounts: Mounts, name: object) -> None:
    await mounts.restore({**EXISTING, "default_backup_mount": name})

    assert mounts.default_backup_mount() is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../etc"}, {"name": "a\nb"}, {"name": ""}, {"name": "x" * 65}, {"server": "/etc"}, {"server": "-oro"},
        {"server": "nas,uid=0"}, {"server": "nas exec"}, {"server": "nas\nOptions=suid"}, {"server": "a:b"},
        {"share": "docs\n[Mount]"}, {"share": "\\docs"}, {"share": ""}, {"share": " docs"}, {"port": 0},
        {"port": 65536}, {"port": "445"}, {"version": "2.1,uid=0"}, {"type": "sshfs"}, {"usage": "etc"},
        {"username": "a\nb", "password": "c"}, {"username": "a", "password": "b\nusername=c"}, {"username": "a"},
        {"usage": "backup", "read_only": True}, {"path": "/docs"}, {"colour": "red"},
    ],
)  # fmt: skip
async def test_record_that_is_no_mount_is_left_out_and_told(mounts: Mounts, change: dict[str, Any]) -> None:
    docs = {**EXISTING["mounts"][2], **change}

    refused = await mounts.restore({"mounts": [EXISTING["mounts"][1], docs]})

    assert len(refused) == 1
    assert [mount.name for mount in mounts.mounts()] == ["films"]


@pytest.mark.parametrize("records", [{}, {"mounts": None}, {"mounts": {"a": 1}}, {"mounts": []}])
async def test_nothing_to_restore_is_nothing(mounts: Mounts, records: dict[str, Any]) -> None:
    assert await mounts.restore(records) == ()
    assert mounts.export() == {"default_backup_mount": None, "mounts": []}


async def test_records_that_are_no_objects_are_told(mounts: Mounts) -> None:
    assert len(await mounts.restore({"mounts": [1, None, "films"]})) == 3


async def test_whoever_listens_hears_of_restored_mounts_once(system: System, mounts: Mounts) -> None:
    heard: list[MountsChanged] = []
    system.bus.subscribe(MountsChanged, heard.append, "test")

    await mounts.restore(EXISTING)
    await mounts.restore(EXISTING)
    await mounts.restore({"mounts": [{**EXISTING["mounts"][1], "name": "more"}]})

    async def last_one() -> bool:
        return MountsChanged(("more",)) in heard

    await until(last_one, within_s=5, what="the last event")
    assert heard.count(MountsChanged(("nas_backup", "films", "docs"))) == 1


async def test_mount_that_there_is_not_is_not_found(mounts: Mounts) -> None:
    with pytest.raises(MountNotFound, match="gone"):
        mounts.mount("gone")


async def test_passwords_are_in_no_answer(system: System, mounts: Mounts) -> None:
    await mounts.restore(EXISTING)

    async with Client.over_unix(system) as client:
        listed = await client.get("/mounts")

    assert [mount["name"] for mount in listed.data["mounts"]] == ["docs", "films", "nas_backup"]
    assert PASSWORD not in json.dumps(listed.data)
    assert '"ha"' not in json.dumps(listed.data)


async def test_mounts_are_kept_over_a_restart(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[MountsPlugin]) as system:
        await system.services.get(MOUNTS).restore(EXISTING)
    async with running_system(tmp_path, plugins=[MountsPlugin]) as system:
        exported = system.services.get(MOUNTS).export()

    assert by_name(exported["mounts"]) == by_name(EXISTING["mounts"])


async def test_export_says_when_a_password_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rooftree.secrets-key").write_bytes(os.urandom(32))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    async with running_system(tmp_path, plugins=[MountsPlugin]) as system:
        await system.services.get(MOUNTS).restore(EXISTING)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")

    async with running_system(tmp_path, plugins=[MountsPlugin]) as system:
        with pytest.raises(SecretLocked):
            system.services.get(MOUNTS).export()


async def test_default_backup_mount_is_chosen_among_backup_mounts(system: System, mounts: Mounts) -> None:
    await mounts.restore({**EXISTING, "default_backup_mount": None})
    async with Client.over_unix(system) as client:
        unknown = await client.post("/mounts/options", json={"default_backup_mount": "gone"})
        other_usage = await client.post("/mounts/options", json={"default_backup_mount": "films"})
        chosen = await client.post("/mounts/options", json={"default_backup_mount": "nas_backup"})
        listed = await client.get("/mounts")
        unset = await client.post("/mounts/options", json={"default_backup_mount": None})

    assert (unknown.status, unknown.envelope["error_key"]) == (404, "mount_not_found_error")
    assert other_usage.status == 400
    assert chosen.status == unset.status == 200
    assert listed.data["default_backup_mount"] == "nas_backup"
    assert mounts.default_backup_mount() is None
