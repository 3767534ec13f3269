"""A daemon of this checkout on the host: it finds what a daemon that is installed there would find."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.host.rig.host import Host
from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.git_server import GitServer
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("host")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(engine: Engine, git_server: GitServer, base_image: str) -> AsyncIterator[Addon]:
    """A daemon on the host with an add-on that runs."""
    repository = git_server.repository("house", {**REPOSITORY, **addon_files("lamp", base=base_image)})
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        offered = (await daemon.ok("GET", "/store"))["addons"]
        addon = Addon(daemon, engine, next(addon["slug"] for addon in offered if addon["slug"].endswith("_lamp")))
        await addon.install()
        await addon.start()
        yield addon


async def test_log_of_an_add_on_comes_from_the_journal(host: Host, house: Addon) -> None:
    house.run_inside("echo 'a line of its own' > /proc/1/fd/1")

    async def shown() -> tuple[str, str] | None:
        async with house.daemon.request("GET", f"/addons/{house.slug}/logs?verbose") as answer:
            text, cursor = await answer.text(), answer.headers.get("X-First-Cursor", "")
        return (text, cursor) if "a line of its own" in text else None

    text, cursor = await until(shown, within_s=5, what="the line")

    line = next(line for line in text.splitlines() if "a line of its own" in line)
    assert f" testhost {house.container}[" in line  # only the journal knows the host and the process
    assert f"b={host.boot_id};" in cursor


async def test_add_ons_reach_us_again_by_themselves_when_our_interface_was_taken_off_their_bridge(
    house: Addon,
) -> None:
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    ours = next(row.split()[0].partition("@")[0] for row in links.splitlines() if row.startswith("rt") and "@" in row)
    log_before = len(house.daemon.log())

    subprocess.run(["ip", "link", "set", ours, "nomaster"], check=True)

    async def opened() -> bool:
        return "addons_can_reach_us" in house.daemon.log()[log_before:]

    await until(opened, within_s=10, what="the new way for add-ons")
    assert house.ask("/addons/self/info")[0] == 200
    assert "task_failed" not in house.daemon.log()[log_before:]


async def test_add_ons_are_up_again_after_a_boot_of_the_host(host: Host, house: Addon) -> None:
    daemon: Daemon = house.daemon
    await daemon.ok("POST", f"/addons/{house.slug}/options", {"boot": "auto"})
    container = house.container_id()

    await daemon.stop()
    host.restart()
    await daemon.start()

    async def runs() -> bool:
        return (await house.info())["state"] == "started" and house.runs()

    await until(runs, within_s=60, what="the add-on after the boot")
    assert house.container_id() != container
    assert house.ask("/addons/self/info")[0] == 200
