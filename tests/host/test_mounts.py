"""Mounts of a real host: systemd's units, and what its containers see.

The kernel of a test machine need have neither CIFS nor NFS. ``tests/rig/mount_share.py`` stands in for their mount
helpers in the host, with folders below ``/run/shares`` as servers; the units, their options, their ends and what is
seen where are systemd's and the kernel's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from rooftree_mounts.mount_table import MountTable
from rooftree_mounts.systemd_units import mount_unit
from tests.host.rig.file_server import file_server, take_down
from tests.host.rig.host import Host
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.waiting import until, wait_until

pytestmark = pytest.mark.xdist_group("host")

CIFS = {"type": "cifs", "usage": "media", "server": "nas", "share": "films"}
PASSWORD = "pa,ss wörd"
SHUTS_DOWN_S = 20.0
"""Seconds that the host may take to go down with a server that hangs: docker kills it after 30."""


@pytest.fixture
def shares(host: Host) -> Iterator[Path]:
    """A server named ``nas`` with a share ``films``; the folder of its shares."""
    with file_server(host, "films") as folder:
        yield folder


@pytest.fixture
async def house(host: Host, engine: Engine, shares: Path) -> AsyncIterator[Daemon]:
    """A daemon on the host, started; nothing of it stays mounted."""
    async with disposable_daemon(engine) as daemon:
        try:
            await daemon.start()
            yield daemon
        finally:
            if daemon.running:
                await daemon.kill()
            if not host.running:
                await asyncio.to_thread(host.boot)
            await asyncio.to_thread(take_down, host, daemon.data_dir)


def asked(shares: Path) -> list[dict[str, Any]]:
    """What the helper was told."""
    return [json.loads(line) for line in (shares.parent / "asked").read_text().splitlines()]


def unit_of(host: Host, path: Path) -> dict[str, str]:
    """What systemd says of the unit that mounts something there."""
    unit = host.run("systemd-escape", "--path", "--suffix=mount", path).strip()
    return dict(line.partition("=")[::2] for line in host.systemctl("show", unit).splitlines())


async def states(house: Daemon) -> dict[str, str]:
    return {mount["name"]: mount["state"] for mount in (await house.ok("GET", "/mounts"))["mounts"]}


async def becomes(house: Daemon, name: str, state: str, within_s: float = 60) -> None:
    async def is_so() -> bool:
        return (await states(house)).get(name) == state

    await until(is_so, within_s=within_s, what=f"{name} {state}")


async def test_share_is_a_unit_of_systemds_and_is_seen_where_it_should(host: Host, house: Daemon, shares: Path) -> None:
    (shares / "films.login").write_text(f"username=ha\npassword={PASSWORD}\n")

    await house.ok("POST", "/mounts", {"name": "films", **CIFS, "username": "ha", "password": PASSWORD})

    own, shown = (unit_of(host, house.data_dir / place / "films") for place in ("mounts", "media"))
    assert (own["ActiveState"], own["FragmentPath"].startswith("/run/systemd/transient/")) == ("active", True)
    assert (own["LazyUnmount"], own["TimeoutUSec"]) == ("yes", "35s")
    assert shown["ActiveState"] == "active"
    assert (house.data_dir / "media" / "films" / "hello.txt").read_text() == "hello from the share\n"
    (told,) = asked(shares)
    assert (told["source"], told["mode"]) == ("//nas/films", "600")
    assert {"nosuid", "nodev", "noserverino", "soft", "echo_interval=10"} <= set(told["options"])
    assert PASSWORD not in json.dumps(own) + json.dumps(told)
    assert list((house.data_dir / ".mounts_credentials").iterdir()) == []


async def test_nfs_that_can_only_be_read_is_mounted_so_everywhere(host: Host, house: Daemon, shares: Path) -> None:
    (shares / "%films").mkdir()

    keys = {"type": "nfs", "usage": "share", "server": "nas", "path": "/films", "read_only": True}
    await house.ok("POST", "/mounts", {"name": "docs", **keys})

    with pytest.raises(OSError, match="Read-only"):
        (house.data_dir / "share" / "docs" / "new.txt").touch()
    assert {"ro", "softerr", "timeo=100", "retrans=2"} <= set(asked(shares)[-1]["options"])


@pytest.mark.parametrize("path", ["/var/lib/x", "/tmp/rth-a/b c", "/a/.b/é", "/.a", "/a:b_c.d\\e"])
def test_units_are_named_as_systemd_names_them(host: Host, path: str) -> None:
    assert mount_unit(path) == host.run("systemd-escape", "--path", "--suffix=mount", path).strip()


async def test_refusal_says_what_the_journal_has_of_it_and_leaves_nothing(
    host: Host, house: Daemon, shares: Path
) -> None:
    status, body = await house.call("POST", "/mounts", {"name": "films", **CIFS, "share": "gone"})

    assert (status, body["error_key"]) == (400, "mount_activation_error")
    assert "mount error(2): No such file or directory" in body["message"]
    assert await states(house) == {}

    def is_forgotten() -> bool:
        return unit_of(host, house.data_dir / "mounts" / "films")["LoadState"] == "not-found"

    await asyncio.to_thread(wait_until, is_forgotten, within_s=10, what="the end of the unit")
    assert not (house.data_dir / "media" / "films").exists()


async def test_update_and_removal_leave_no_units_of_what_was(host: Host, house: Daemon, shares: Path) -> None:
    (shares / "others").mkdir()
    await house.ok("POST", "/mounts", {"name": "films", **CIFS})

    await house.ok("PUT", "/mounts/films", {**CIFS, "usage": "backup", "share": "others"})
    assert unit_of(host, house.data_dir / "media" / "films")["ActiveState"] == "inactive"
    assert unit_of(host, house.data_dir / "mounts" / "films")["ActiveState"] == "active"
    await house.ok("DELETE", "/mounts/films")

    assert (await asyncio.to_thread(MountTable.read)).below(house.data_dir) == []
    assert (
        "rooftree" not in host.systemctl("list-units", "--all", "--no-legend", "--type=mount", "*mounts-films*").lower()
    )


@pytest.mark.parametrize("is_update", [False, True])
async def test_bus_that_is_lost_in_the_middle_leaves_what_was_before_and_can_be_tried_again(
    host: Host, house: Daemon, shares: Path, *, is_update: bool
) -> None:
    (shares / "others").mkdir()
    (shares / "others.hangs").touch()
    if is_update:
        await house.ok("POST", "/mounts", {"name": "films", **CIFS})
    method, path = ("PUT", "/mounts/films") if is_update else ("POST", "/mounts")
    wanted = {**CIFS, "share": "others", **({} if is_update else {"name": "films"})}
    calling = asyncio.ensure_future(house.call(method, path, wanted))
    await asyncio.to_thread(wait_until, lambda: hangs(shares), within_s=30, what="the mount under way")

    host.run("systemctl", "kill", "--signal=KILL", "dbus.service")
    status, body = await calling

    assert status >= 400, body
    assert await states(house) == ({"films": "active"} if is_update else {})
    assert (house.data_dir / "media" / "films" / "hello.txt").exists() is is_update
    (shares / "others.hangs").unlink()

    async def works() -> bool:
        return (await house.call(method, path, wanted))[0] == 200

    await until(works, within_s=90, what="the same with a bus")
    assert [share["share"] for share in (await house.ok("GET", "/mounts"))["mounts"]] == ["others"]
    assert not (house.data_dir / "media" / "films" / "hello.txt").exists()
    await house.stop()
    await asyncio.to_thread(host.restart)  # its other services do not all get over that


def hangs(shares: Path) -> bool:
    """Whether the share that hangs was asked for."""
    return (shares.parent / "asked").exists() and asked(shares)[-1]["source"] == "//nas/others"


async def test_mounts_outlive_the_daemon_and_are_mounted_again_after_a_boot(
    host: Host, house: Daemon, shares: Path
) -> None:
    await house.ok("POST", "/mounts", {"name": "films", **CIFS})
    await house.stop()
    assert unit_of(host, house.data_dir / "mounts" / "films")["ActiveState"] == "active"

    await house.start()
    await becomes(house, "films", "active")
    assert len(asked(shares)) == 1

    host.systemctl("stop", mount_unit(str(house.data_dir / "mounts" / "films")))
    await until(lambda: mounted(house, "media/films"), within_s=30, what="the mount that systemd has stopped")
    assert len(asked(shares)) == 2


async def mounted(house: Daemon, place: str) -> bool:
    table = await asyncio.to_thread(MountTable.read)
    return table.at(house.data_dir / place) is not None


async def test_containers_see_a_share_come_back(
    host: Host, house: Daemon, engine: Engine, base_image: str, shares: Path
) -> None:
    media = house.data_dir / "media"
    name = f"{house.prefix}viewer"
    engine.run("run", "--detach", "--name", name, "--volume", f"{media}:/media:rslave", base_image, "sleep", "1000")
    try:
        await house.ok("POST", "/mounts", {"name": "films", **CIFS})
        assert engine.run("exec", name, "ls", "/media/films").split() == ["hello.txt"]

        host.systemctl("stop", mount_unit(str(house.data_dir / "mounts" / "films")))

        async def is_back() -> bool:
            return engine.run("exec", name, "ls", "/media/films").split() == ["hello.txt"]

        await until(is_back, within_s=30, what="the share in the container")
        await house.ok("DELETE", "/mounts/films")
        assert engine.run("exec", name, "ls", "/media").split() == []
    finally:
        engine.run("rm", "--force", name)


async def test_server_that_dies_holds_up_neither_the_daemon_nor_the_end_of_the_host(
    host: Host, house: Daemon, shares: Path
) -> None:
    (shares / "films.dies").touch()
    await house.ok("POST", "/mounts", {"name": "films", **CIFS})
    host.run("sh", "-c", "kill -USR1 $(cat /run/shares/nas/films.pid)")
    (shares / "films.hangs").touch()

    status, body = await house.call("POST", "/mounts/films/reload")
    assert (status, body["error_key"]) == (400, "mount_reload_error")
    assert await states(house) == {"films": "failed"}
    loop = asyncio.get_running_loop()
    began = loop.time()
    await house.stop()
    stopped = loop.time() - began
    began = loop.time()
    await house.start()
    started = loop.time() - began
    began = loop.time()
    await asyncio.to_thread(host.shut_down)
    ended = loop.time() - began

    print(f"with a server that hangs: stop {stopped:.1f} s, start {started:.1f} s, end of the host {ended:.1f} s")
    assert stopped < 10
    assert ended < SHUTS_DOWN_S
