"""The host's disks are full, or have become read-only: what is read is answered, what must write is done or refused
whole with a sentence that says why, and all is well once the disk is.

The full disk is a small file system. The data disk becomes read-only as disks do: ext4 finds an error and allows no
more writes, with the database open on it. The host's own settings lie on a file system that is mounted read-only.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.host.rig.host import Host
from tests.host.rig.releases import HomeAssistantOs
from tests.host.rig.version_server import VersionServer
from tests.rig.daemon import Daemon
from tests.rig.engine import Engine
from tests.rig.waiting import until
from tests.torture.requirements import small_disk

pytestmark = [
    pytest.mark.xdist_group("host"),
    pytest.mark.parametrize("home_assistant_os", [HomeAssistantOs("16.3", "yellow")], indirect=True, ids=str),
]

MIB = 1024 * 1024
DISK_KIB = 16 * 1024
SETTLES_S = 30.0
"""A service that went away while it was asked is left alone for half of that."""
TRIES = 40
"""What writes is tried as often: the database has a page to spare for the first."""
READ = (
    "/host/info",
    "/host/services",
    "/host/disks/default/usage?max_depth=1",
    "/host/logs/boots",
    "/hardware/info",
    "/os/info",
    "/os/config/swap",
    "/os/datadisk/list",
    "/os/boards/yellow",
    "/info",
    "/jobs/info",
)
"""What asks something else each, of the host, the system and the kernel."""

type Answer = tuple[int, Any]


async def all_is_read(daemon: Daemon) -> None:
    """Every question is answered."""
    refused = {path: answer for path in READ if (answer := await daemon.call("GET", path))[0] != 200}
    assert refused == {}


def reasons(answers: list[Answer]) -> set[tuple[int, str]]:
    """Status and key of what was refused."""
    return {(status, body["error_key"]) for status, body in answers if status != 200}


def hostname(host: Host) -> str:
    """What the host's own service has written."""
    return host.run("cat", "/etc/hostname").strip()


def swappiness(host: Host) -> list[int]:
    """What the OS agent was told, in order."""
    return [call["value"] for call in host.agent.calls() if call.get("property") == "Swappiness"]


# --- full -------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def on_small_disk(engine: Engine, daemon: Daemon, home_assistant_os: HomeAssistantOs) -> AsyncIterator[Daemon]:
    """A daemon whose data folder is a small file system."""
    with small_disk(daemon.data_dir, DISK_KIB):
        daemon.environment = {"ROOFTREE_MIN_FREE_MIB": "0", "ROOFTREE_DISK_RESERVE_MIB": "1"}
        try:
            yield daemon
        finally:
            await end(engine, daemon)


async def end(engine: Engine, daemon: Daemon) -> None:
    """End the daemon, and what it made on the engine, before its disk goes."""
    if daemon.running:
        await daemon.kill()
    if instance := daemon.instance:
        engine.remove_instance(instance)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """There is no room left, whoever else writes meanwhile."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while free := shutil.disk_usage(disk).free:
            with suppress(OSError):
                file.write(bytes(min(free, 64 * 1024)))
    try:
        yield
    finally:
        ballast.unlink()


async def test_full_data_disk_is_told_read_from_and_refuses_what_writes_as_a_whole(
    host: Host, on_small_disk: Daemon
) -> None:
    daemon = on_small_disk
    versions = VersionServer("17.0", HomeAssistantOs("17.0", "yellow").bundle(host))
    versions.is_known_to(daemon)
    await versions.serve()
    await daemon.start()
    await daemon.recovered()

    with full(daemon.data_dir):
        await all_is_read(daemon)
        usage = await daemon.ok("GET", "/host/disks/default/usage?max_depth=1")
        free = (await daemon.ok("GET", "/host/info"))["disk_free"]
        names = [await daemon.call("POST", "/host/options", {"hostname": f"full-{n}"}) for n in range(TRIES)]
        swaps = [await daemon.call("POST", "/os/config/swap", {"swappiness": n}) for n in range(2, 2 + TRIES)]
        update = await daemon.call("POST", "/os/update", {})
        named, told = hostname(host), swappiness(host)
        await daemon.recovered()
        await daemon.kill()
        await daemon.start()
        await all_is_read(daemon)
        plan = await daemon.call("POST", "/host/reboot?plan=1", {})
    after = [
        await daemon.call("POST", "/host/options", {"hostname": "attic"}),
        await daemon.call("POST", "/os/config/swap", {"swappiness": 60}),
        await daemon.call("POST", "/os/update", {}),
    ]
    await versions.close()

    assert (usage["used_bytes"], free) == (usage["total_bytes"], 0.0)
    assert reasons([*names, *swaps, update]) == {(503, "state_unwritable_error")}
    assert all("space" in body["message"] for status, body in (*names, *swaps, update) if status != 200)
    # What was answered with success is what is so, and nothing else.
    assert named == next((f"full-{n}" for n in reversed(range(TRIES)) if names[n][0] == 200), "testhost")
    assert told == [n for n, (status, _) in enumerate(swaps, 2) if status == 200]
    assert plan[0] == 200
    assert [status for status, _ in after] == [200, 200, 200]
    assert (hostname(host), swappiness(host)[-1]) == ("attic", 60)
    assert (await daemon.ok("GET", "/os/info"))["version_pending"] == "17.0"
    assert not list((daemon.data_dir / "tmp").iterdir())


# --- read-only --------------------------------------------------------------------------------------------------------


class Ext4Disk:
    """An ext4 on a loop device, mounted where the data folder is."""

    def __init__(self, path: Path, image: Path) -> None:
        self.path = path
        self._image = image
        with image.open("wb") as file:
            file.truncate(64 * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        path.mkdir()
        self.mount()

    def mount(self) -> None:
        """Mount it; an error makes it read-only, which is what most machines have it do."""
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", self._image, self.path], check=True)

    def fail(self) -> None:
        """Let the kernel find an error on it."""
        device = next(row.split()[0] for row in _mounts() if row.split()[1] == str(self.path))
        Path(f"/sys/fs/ext4/{device.removeprefix('/dev/')}/trigger_fs_error").write_text("a fault of the test\n")

    def unmount(self) -> None:
        """Take it away."""
        subprocess.run(["umount", self.path], check=True)

    def repair(self) -> None:
        """What an operator does: check it, and mount it again."""
        self.unmount()
        checked = subprocess.run(["e2fsck", "-fy", self._image], capture_output=True, text=True, check=False)
        assert checked.returncode in {0, 1}, checked.stdout  # 1: errors were corrected
        self.mount()


def _mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()


@pytest.fixture
async def data_disk(engine: Engine, daemon: Daemon) -> AsyncIterator[Ext4Disk]:
    """A disk for the daemon's data folder."""
    disk = Ext4Disk(daemon.data_dir, daemon.folder / "disk.img")
    try:
        yield disk
    finally:
        await end(engine, daemon)
        disk.unmount()


async def test_data_disk_that_becomes_read_only_is_read_from_and_refuses_what_writes_as_a_whole(
    host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon, data_disk: Ext4Disk
) -> None:
    await daemon.start()
    await daemon.recovered()

    data_disk.fail()
    await all_is_read(daemon)
    refused = [
        await daemon.call("POST", "/host/options", {"hostname": "attic"}),
        await daemon.call("POST", "/os/config/swap", {"swappiness": 60}),
    ]
    named, told = hostname(host), swappiness(host)
    await all_is_read(daemon)
    stopped = await daemon.stop()
    log_before = len(daemon.log())
    with pytest.raises(RuntimeError, match="ended instead of starting"):
        await daemon.start()
    said = daemon.log()[log_before:]
    data_disk.repair()
    await daemon.start()
    await daemon.recovered()
    after = await daemon.call("POST", "/host/options", {"hostname": "attic"})

    assert reasons(refused) == {(503, "state_unwritable_error")}
    assert all("read-only" in body["message"] for _, body in refused)
    assert (named, told) == ("testhost", [])
    assert stopped == 0
    assert f"data folder {daemon.data_dir} can't be used: Read-only file system" in said and "Traceback" not in said
    assert (after[0], hostname(host)) == (200, "attic")


READ_ONLY = """\
mkdir /run/settings
mount -t tmpfs settings /run/settings
cp -a /etc/. /run/settings/
mount -o remount,ro /run/settings
mount --bind /run/settings /etc
systemctl stop systemd-hostnamed.service
systemctl reset-failed
"""
"""The root itself, to which journald writes, can't be made read-only; so the settings are put on a file system that is.
hostnamed finds it when it starts."""
WRITABLE = """\
umount /etc /run/settings
rmdir /run/settings
systemctl stop systemd-hostnamed.service
systemctl reset-failed
"""


@contextmanager
def read_only_settings(host: Host) -> Iterator[None]:
    """The host can't write its settings."""
    host.run("sh", "-ec", READ_ONLY)
    try:
        yield
    finally:
        host.run("sh", "-ec", WRITABLE)


async def is_all_read(daemon: Daemon) -> bool:
    """Whether every question is answered."""
    return all([(await daemon.call("GET", path))[0] == 200 for path in READ])


async def renamed(daemon: Daemon) -> Answer:
    """What is answered to a new name, once hostnamed is there again: it was stopped, perhaps while it was asked."""

    async def answer() -> Answer | None:
        said = await daemon.call("POST", "/host/options", {"hostname": "attic"})
        return said if said[0] != 503 else None

    said = await until(answer, within_s=SETTLES_S, what="hostnamed")
    assert said is not None
    return said


@pytest.mark.torture  # hostnamed is stopped twice, and may be left alone for a while each time
async def test_name_of_a_host_whose_settings_are_read_only_stays_and_the_reason_is_told(
    host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon
) -> None:
    await daemon.start()

    with read_only_settings(host):
        status, refused = await renamed(daemon)
        await until(lambda: is_all_read(daemon), within_s=SETTLES_S, what="every answer")
        during = (hostname(host), (await daemon.ok("GET", "/host/info"))["hostname"])
        swap = await daemon.call("POST", "/os/config/swap", {"swappiness": 60})
    after = await renamed(daemon)

    assert (status, refused["error_key"]) == (500, "host_bus_refused_error"), refused
    assert "read-only" in refused["message"]
    assert during == ("testhost", "testhost")
    assert swap[0] == 200
    assert (after[0], hostname(host)) == (200, "attic")
