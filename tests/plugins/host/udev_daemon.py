"""A real udev daemon at work on a real loop device: ``python -m tests.plugins.host.udev_daemon NUMBER IMAGE``.

:func:`with_udev_daemon` runs this module in namespaces of its own, where ``/run`` and ``/dev`` are empty: the daemon's
database and links are seen by nobody else, and it has two rules only. It prints as JSON what became known, in order.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rooftree import Event
from rooftree.interfaces.hardware import Device
from rooftree_host import devices as devices_module
from rooftree_host.devices import HostDevices
from rooftree_host.udev import DAEMON, Udev
from tests.plugins.host.loop_devices import CONTROL, LoopDevice
from tests.requirements import needs
from tests.rig.waiting import until

UDEVD = Path("/lib/systemd/systemd-udevd")
RULES = Path("/usr/lib/udev/rules.d")
STORAGE = "60-persistent-storage.rules"
WITHIN_S = 20.0
NAMESPACES = ("unshare", "--mount", "--net", "--propagation", "private")
PREPARE = f"""
set -e
mount -t tmpfs run /run
mkdir /run/udev /run/dev /run/rules
cp {RULES}/{STORAGE} /run/rules
echo 'KERNEL=="loop'$1'", PROGRAM="/bin/sleep 1", SYMLINK+="disk/by-id/test-stick"' > /run/rules/10-slow.rules
mount --bind /run/rules {RULES}
mount -t tmpfs dev /run/dev
mknod /run/dev/loop-control c 10 237
mknod /run/dev/loop$1 b 7 $1
mknod -m 666 /run/dev/null c 1 3
mknod -m 666 /run/dev/urandom c 1 9
ln -s /proc/self/fd /run/dev/fd
mount --move /run/dev /dev
exec "$3" -m tests.plugins.host.udev_daemon "$1" "$2"
"""


def _possible() -> bool:
    files = [UDEVD, RULES / STORAGE, CONTROL]
    programs = ("unshare", "losetup", "mkfs.ext4")
    return (
        os.geteuid() == 0
        and all(file.exists() for file in files)
        and all(shutil.which(program) for program in programs)
        and subprocess.run([*NAMESPACES, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    )


needs_udev_daemon = needs(
    _possible(), "needs root, mount namespaces, loop devices, and the packages udev and e2fsprogs"
)


async def with_udev_daemon(number: int, image: Path) -> list[dict[str, Any]]:
    """What becomes known of a loop device that appears, is given the disk in ``image``, and vanishes."""
    process = await asyncio.create_subprocess_exec(
        *NAMESPACES, "sh", "-c", PREPARE, "sh", str(number), str(image), sys.executable,
        stdout=asyncio.subprocess.PIPE, limit=2**20,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, "it failed; its standard error says why"
    return [json.loads(line) for line in said.splitlines()]


async def main() -> None:
    """Let the device come, get a disk, and go."""
    _, number, image = sys.argv
    device = LoopDevice(int(number), os.open(CONTROL, os.O_RDWR))
    devices_module.HIDDEN["block"] = ()
    udevd = await asyncio.create_subprocess_exec(UDEVD, stdout=asyncio.subprocess.DEVNULL)
    await until(_is_there, within_s=WITHIN_S, what="the udev daemon")

    def say(what: str, of: Device) -> None:
        if of.dev_path == device.node:
            print(json.dumps({"what": what, "by_id": of.by_id, "attributes": dict(of.attributes)}), flush=True)

    def published(event: Event) -> None:
        say(type(event).__name__, event.device)  # type: ignore[attr-defined]  # all events of devices have one

    async def tell(of: Device, there: bool) -> None:
        say("told" if there else "told of its end", of)

    def report(_: bool) -> None:
        pass

    known = HostDevices(await asyncio.to_thread(Udev), publish=published, tell=tell, report=report)
    await known.begin()
    tasks = [asyncio.create_task(known.follow()), asyncio.create_task(known.tell())]

    async def has(path: str) -> bool:
        return known.device(path) is not None

    async def has_not(path: str) -> bool:
        return known.device(path) is None

    try:
        device.add()
        await until(lambda: has(device.node), within_s=WITHIN_S, what="the device")
        losetup = await asyncio.create_subprocess_exec("losetup", device.node, image)
        assert await losetup.wait() == 0
        await until(lambda: has("/dev/disk/by-label/HOLIDAYS"), within_s=WITHIN_S, what="its label")
        losetup = await asyncio.create_subprocess_exec("losetup", "--detach", device.node)
        assert await losetup.wait() == 0
        await asyncio.to_thread(Path(device.node).unlink)  # who opens the node of a loop device makes that device
        await until(lambda: _removed(device), within_s=WITHIN_S, what="the device's end")
        await until(lambda: has_not(device.node), within_s=WITHIN_S, what="word of its end")
        await asyncio.sleep(0)  # the hooks' turn
    finally:
        for task in tasks:
            task.cancel()
        known.close()
        udevd.terminate()
        await udevd.wait()


async def _is_there() -> bool:
    return DAEMON.exists()


async def _removed(device: LoopDevice) -> bool:
    try:
        device.remove()
    except OSError:  # the daemon looks at it just now
        return False
    return True


if __name__ == "__main__":
    asyncio.run(main())
