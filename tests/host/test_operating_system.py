"""Home Assistant OS through Rooftree, on a host that is one: its version and slots by rauc, an update, lights, swap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.host.rig.host import Host
from tests.host.rig.releases import HomeAssistantOs
from tests.host.rig.version_server import VersionServer
from tests.rig.daemon import Daemon
from tests.rig.waiting import until

pytestmark = [
    pytest.mark.xdist_group("host"),
    pytest.mark.parametrize("home_assistant_os", [HomeAssistantOs("16.3", "yellow")], indirect=True, ids=str),
]

NEW = "17.0"

type Serve = Callable[[Path], Awaitable[None]]


@pytest.fixture
async def serve(daemon: Daemon) -> AsyncIterator[Serve]:
    """Lets the daemon find a bundle, on a server of versions and bundles on the host's loopback."""
    servers: list[VersionServer] = []

    async def serving(bundle: Path) -> None:
        server = VersionServer(NEW, bundle)
        servers.append(server)
        server.is_known_to(daemon)
        await server.serve()

    yield serving
    for server in servers:
        await server.close()


async def until_known(daemon: Daemon) -> None:
    """Wait until the daemon has read the version file, and lets jobs of the system begin."""

    async def known() -> bool:
        latest = (await daemon.ok("GET", "/os/info"))["version_latest"]
        return latest == NEW and (await daemon.ok("GET", "/info"))["state"] == "running"

    await until(known, within_s=20, what="the newest version")


async def test_update_is_fetched_installed_and_runs_after_the_next_boot(
    host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon, serve: Serve
) -> None:
    await serve(HomeAssistantOs(NEW, "yellow").bundle(host))
    await daemon.start()

    await until_known(daemon)
    before = await daemon.ok("GET", "/os/info")
    await daemon.ok("POST", "/os/update", {"version": NEW})
    installed = await daemon.ok("GET", "/os/info")
    again = await daemon.call("POST", "/os/update", {"version": NEW})
    await daemon.stop()
    host.restart()
    await daemon.start()
    after = await daemon.ok("GET", "/os/info")

    assert (before["version"], before["update_available"], before["board"]) == ("16.3", True, "yellow")
    assert before["boot"] == "A"
    assert {name: slot["state"] for name, slot in before["boot_slots"].items()} == {"A": "active", "B": "inactive"}
    assert (installed["version_pending"], installed["update_available"]) == (NEW, False)
    assert (again[0], again[1]["error_key"]) == (400, "hassos_update_pending_reboot_error")
    assert (after["version"], after["boot"]) == (NEW, "B")
    assert after["boot_slots"]["B"]["version"] == NEW


async def test_bundle_for_another_system_fails_in_rauc_s_words_and_changes_nothing(
    host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon, serve: Serve
) -> None:
    await serve(HomeAssistantOs(NEW, "yellow").bundle(host, compatible="another-host"))
    await daemon.start()
    await until_known(daemon)

    status, refused = await daemon.call("POST", "/os/update", {"version": NEW})
    info = await daemon.ok("GET", "/os/info")

    assert (status, refused["error_key"]) == (500, "os_installation_failed_error")
    assert "ompatible" in refused["message"]
    assert (info["version"], info["boot"], info["version_pending"]) == ("16.3", "A", None)
    assert not list((daemon.data_dir / "tmp").glob("*.raucb"))


async def test_lights_and_swap_are_the_agents(host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon) -> None:
    await daemon.start()

    lights = await daemon.ok("GET", "/os/boards/yellow")
    await daemon.ok("POST", "/os/boards/yellow", {"disk_led": not lights["disk_led"]})
    changed = await daemon.ok("GET", "/os/boards/yellow")
    await daemon.ok("POST", "/os/config/swap", {"swap_size": "1G", "swappiness": 10})
    swap = await daemon.ok("GET", "/os/config/swap")
    other = await daemon.call("GET", "/os/boards/green")

    assert changed == lights | {"disk_led": not lights["disk_led"]}
    assert swap == {"swap_size": "1G", "swappiness": 10}
    assert other[0] == 400
