"""With a real udev daemon, which takes its time: what it found out is there when a device is told of."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.plugins.host.loop_devices import unused_loop_device
from tests.plugins.host.udev_daemon import needs_udev_daemon, with_udev_daemon


@needs_udev_daemon
async def test_device_is_told_of_when_the_udev_daemon_has_said_what_it_is(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, 4 * 2**20)
    mkfs = await asyncio.create_subprocess_exec("mkfs.ext4", "-q", "-L", "HOLIDAYS", image)
    assert await mkfs.wait() == 0

    with unused_loop_device() as device:
        said = await with_udev_daemon(device.number, image)

    first, told, *changes, removed, end = said
    assert [each["what"] for each in said] == [
        "DeviceAdded",
        "told",
        *["DeviceChanged"] * len(changes),
        "DeviceRemoved",
        "told of its end",
    ]
    assert first["by_id"] == told["by_id"] == "/dev/disk/by-id/test-stick"
    assert "ID_FS_LABEL" not in told["attributes"]
    assert changes[-1]["attributes"]["ID_FS_LABEL"] == "HOLIDAYS"
    assert removed["by_id"] == end["by_id"] == told["by_id"]
