"""Mounts of a real host: systemd's units, and what its containers see.

The kernel of a test machine need have neither CIFS nor NFS. ``tests/rig/mount_share.py`` stands in for their mount
helpers in the host, with folders below ``/run/shares`` as servers; the units, their options, their ends and what is
seen where are systemd's and the kernel's own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from rooftree_mounts.mount_table import MountTable
from rooftree_mounts.systemd_units import mount_unit
from tests.host.rig.host import Host
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.waiting import until, wait_until

pytestmark = pytest.mark.xdist_group("host")

RIG = Path(__file__).parents[1] / "rig"
CIFS = {"type": "cifs", "usage": "media", "server": "nas", "share": "films"}
PASSWORD = "pa,ss wörd"
SHUTS_DOWN_S = 20.0
"""Seconds that the host may take to go down with a server that hangs: docker kills it after 30."""


@pytest.fixture
def shares(host: Host) -> Iterator[Path]:
    """A server named ``nas`` with a share ``films``; the folder of its shares."""
    host.run("sh", "-c", "mkdir -p /usr/lib/shares; [ -e /dev/fuse ] || mknod /dev/fuse c 10 229")
    for name in ("mount_share.py", "fuse_share.py"):
        content = (RIG / name).read_bytes()
        host.machine.run("exec", "--interactive", host.name, "tee", f"/usr/lib/shares/{name}", data=content)
    for kind in ("cifs", "nfs"):
        helper = f"/usr/sbin/mount.{kind}"
        script = "#!/usr/bin/python3\nimport sys\nsys.path.insert(0, '/usr/lib/shares')\nimport mount_share\n"
        script += "mount_share.__file__ = '/usr/lib/shares/mount_share.py'\nmount_share.main()\n"
        host.machine.run("exec", "--interactive", host.name, "tee", helper, data=script.encode())
        host.run("chmod", "+x", helper)
    folder = host.run_dir / "shares" / "nas"
    share = folder / "films"
    share.mkdir(parents=True)
    (share / "hello.txt").write_text("hello from the share\n")
    yield folder
    if host.running:
        host.run("sh", "-c", "rm -rf /run/shares /usr/lib/shares /usr/sbin/mount.cifs /usr/sbin/mount.nfs")


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


def take_down(host: Host, data: Path) -> None:
    """Nothing is mounted there, on the host and here, and nothing is immutable."""
    if host.running:
        host.run("sh", "-c", "kill -KILL $(cat /run/shares/servers 2>/dev/null) 2>/dev/null || true")
        for mounted in reversed(MountTable.read().below(data)):
            host.run("sh", "-c", f"umount --lazy '{mounted.target}' || true")
    for mounted in reversed(MountTable.read().below(data)):
        subprocess.run(["umount", "--lazy", mounted.target], check=False)
    subprocess.run(["chattr", "-R", "-f", "-i", data], check=False, capture_output=True)


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
