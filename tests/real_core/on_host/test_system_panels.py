"""Core's network and storage panels on a host with a real NetworkManager and a real systemd: what they show, and what
is changed in them. The servers of shares are stand-ins (``tests/host/rig/file_server.py``), their units systemd's own.

The tests share one house, and each leaves it for the next.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.host.rig.host import Host
from tests.host.rig.lan import ROUTER, Lan
from tests.real_core.rig.backup_page import LOCAL, BackupPage
from tests.real_core.rig.browser import BROWSER
from tests.real_core.rig.core_user import CoreUser
from tests.real_core.rig.frontend import signed_in
from tests.real_core.rig.house import RealHouse
from tests.requirements import needs
from tests.rig.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILMS = {"name": "films", "type": "cifs", "usage": "media", "server": "nas", "share": "films"}
NAS = {"name": "nas_backup", "type": "cifs", "usage": "backup", "server": "nas", "share": "backups"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resident(house: RealHouse, owner: CoreUser, cable: Lan, shares: Path) -> CoreUser:
    """Who lives there."""
    for share in ("backups", "music"):
        (shares / share).mkdir()
    (shares / "films.dies").touch()
    await house.has_core(owner)
    await owner.onboard()
    await owner.is_there()
    await owner.integration_is_loaded()
    return owner


async def has_shares(resident: CoreUser, *wanted: dict[str, Any]) -> None:
    """See to it that these are mounted."""
    there = await mounts(resident)
    for share in wanted:
        if share["name"] not in there:
            await resident.supervisor("/mounts", "post", **share)


async def mounts(resident: CoreUser) -> dict[str, Any]:
    """The mounts as the panel gets them, by name."""
    return {mount["name"]: mount for mount in (await resident.supervisor("/mounts"))["mounts"]}


def of_ours(complaints: list[str]) -> list[str]:
    """What Core complains of that has to do with us; it also misses packages that it can't fetch here."""
    return [line for line in complaints if "hassio" in line or "backup" in line]


# --- network ----------------------------------------------------------------------------------------------------------


async def test_network_panel_gets_the_interfaces_of_the_host(resident: CoreUser) -> None:
    info = await resident.supervisor("/network/info")

    (lan,) = [interface for interface in info["interfaces"] if interface["interface"] == "lan0"]
    assert (lan["type"], lan["enabled"], lan["connected"]) == ("ethernet", True, True)
    assert (lan["ipv4"]["method"], lan["ipv4"]["address"]) == ("static", ["192.0.2.7/24"])
    assert info["supervisor_internet"] is False


async def test_address_that_is_changed_in_the_panel_is_the_hosts(resident: CoreUser, cable: Lan) -> None:
    await resident.supervisor(
        "/network/interface/lan0/update", "post",
        ipv4={"method": "static", "address": ["192.0.2.9/24"], "gateway": ROUTER, "nameservers": []},
    )  # fmt: skip

    assert "192.0.2.9/24" in await asyncio.to_thread(cable.addresses)
    shown = await resident.supervisor("/network/interface/lan0/info")
    assert shown["ipv4"]["address"] == ["192.0.2.9/24"]


@needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")
async def test_form_of_the_network_panel_changes_the_host(resident: CoreUser, cable: Lan, tmp_path: Path) -> None:
    async with signed_in(resident, tmp_path) as tab:
        await tab.open(f"{resident.url}/config/network")
        await tab.click("IPv4", after="Configure network interfaces")
        await tab.fill("IP address", "192.0.2.11", after="IPv4")
        await tab.shows("you might lose the connection")
        await tab.picture("network")
        await tab.click("Save", after="Configure network interfaces")

        async def has_changed() -> bool:
            return "192.0.2.11/24" in await asyncio.to_thread(cable.addresses)

        await until(has_changed, within_s=30, what="the new address")
        assert tab.complaints == []


# --- storage ----------------------------------------------------------------------------------------------------------


async def test_storage_panel_gets_what_the_disk_is_used_for(resident: CoreUser) -> None:
    host = await resident.supervisor("/host/info")
    usage = await resident.ask(
        "supervisor/api", endpoint="/host/disks/default/usage", method="get", timeout=None, params={"max_depth": 3}
    )

    assert "mount" in host["features"]
    assert 0 < usage["used_bytes"] < usage["total_bytes"]
    assert {"homeassistant", "media"} <= {child["id"] for child in usage["children"]}


async def test_share_that_is_added_in_the_panel_is_seen_by_core(house: RealHouse, resident: CoreUser) -> None:
    await resident.supervisor("/mounts", "post", **FILMS)

    shown = (await mounts(resident))["films"]
    assert (shown["state"], shown["user_path"]) == ("active", "/media/films")
    assert house.engine.run("exec", house.core_container, "ls", "/media/films") == "hello.txt"


async def test_share_is_changed_and_mounted_anew(resident: CoreUser) -> None:
    await resident.supervisor("/mounts/films", "put", **FILMS, read_only=True)
    await resident.supervisor("/mounts/films/reload", "post")

    shown = (await mounts(resident))["films"]
    assert (shown["state"], shown["read_only"]) == ("active", True)


async def test_mount_for_backups_is_a_place_of_cores_at_once(
    house: RealHouse, resident: CoreUser, shares: Path
) -> None:
    page = BackupPage(resident)
    await resident.supervisor("/mounts", "post", **NAS)

    async def is_offered() -> bool:
        return await page.agents() == {LOCAL, "hassio.nas_backup"}

    await until(is_offered, within_s=10, what="the place for backups")
    assert (await resident.supervisor("/mounts"))["default_backup_mount"] == "nas_backup"
    backup = await page.make("On the server", "hassio.nas_backup", LOCAL, include_folders=["ssl"])
    assert set(backup["agents"]) == {LOCAL, "hassio.nas_backup"}
    assert len(list((shares / "backups").glob("*.tar"))) == 1
    await page.delete(backup["backup_id"])
    assert list((shares / "backups").glob("*.tar")) == []


@needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")
async def test_form_of_the_storage_panel_adds_a_share(house: RealHouse, resident: CoreUser, tmp_path: Path) -> None:
    await has_shares(resident, FILMS, NAS)
    async with signed_in(resident, tmp_path) as tab:
        await tab.open(f"{resident.url}/config/storage")
        for words in ("films", "nas_backup", "nas:backups"):
            await tab.shows(words)
        await tab.click("Add storage")
        await tab.fill("Name", "music", after="Add storage")
        await tab.click("Media", after="Usage")
        await tab.click("Samba/Windows (CIFS)")
        await tab.fill("Server", "nas", after="Type")
        await tab.fill("Remote share", "music")
        await tab.click("Connect")

        await tab.shows("nas:music")
        await tab.picture("storage")
        assert tab.complaints == []
    assert (await mounts(resident))["music"]["state"] == "active"
    assert "music" in house.engine.run("exec", house.core_container, "ls", "/media").splitlines()
    await resident.supervisor("/mounts/music", "delete")


async def test_default_place_is_chosen_in_the_panel(resident: CoreUser) -> None:
    await resident.supervisor("/mounts/options", "post", default_backup_mount=None)

    assert (await resident.supervisor("/mounts"))["default_backup_mount"] is None


async def test_core_complained_of_nothing(house: RealHouse) -> None:
    assert of_ours(house.core_complaints()) == []


async def test_share_that_fails_is_a_repair_of_cores_until_it_is_removed(
    host: Host, resident: CoreUser, shares: Path
) -> None:
    await asyncio.to_thread(host.run, "kill", "-KILL", (shares / "films.pid").read_text().strip())
    (shares / "films").rename(shares / "films-gone")
    async with resident.socket() as socket:
        refused = await socket.answer("supervisor/api", endpoint="/mounts/films/reload", method="post", timeout=None)
    assert refused["success"] is False

    await until(lambda: needs_repair(resident), within_s=30, what="the repair")
    assert (await mounts(resident))["films"]["state"] == "failed"
    await resident.supervisor("/mounts/films", "delete")
    assert set(await mounts(resident)) == {"nas_backup"}
    await until(lambda: needs_none(resident), within_s=30, what="the end of the repair")


async def needs_repair(resident: CoreUser) -> bool:
    """Whether Core knows of a mount that fails."""
    issues = (await resident.ask("repairs/list_issues"))["issues"]
    return any(issue["domain"] == "hassio" and "mount_failed" in issue["translation_key"] for issue in issues)


async def needs_none(resident: CoreUser) -> bool:
    """Whether it knows of none."""
    return not await needs_repair(resident)


async def test_place_that_is_removed_is_cores_no_more(resident: CoreUser) -> None:
    await resident.supervisor("/mounts/nas_backup", "delete")

    async def is_gone() -> bool:
        return await BackupPage(resident).agents() == {LOCAL}

    await until(is_gone, within_s=10, what="the end of the place for backups")
