"""``/hardware/…`` on machines that are written down, with the real libudev: what is shown, and what comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.host.recorded_machine import RecordedMachine, needs_umockdev

pytestmark = [needs_umockdev, pytest.mark.xdist_group("recorded machines")]  # which share a process

USUAL = {"/dev/null", "/dev/fuse", "/dev/loop-control"}
"""Nodes that every machine here has."""
CARD = {"/dev/mmcblk0"} | {f"/dev/mmcblk0p{number}" for number in range(1, 9)}
"""An eMMC or SD card with the operating system's partitions."""
BROADCOM = {
    "/dev/dri/card0", "/dev/gpiochip0", "/dev/gpiomem", "/dev/i2c-1", "/dev/media0", "/dev/ttyAMA0", "/dev/vchiq",
    "/dev/video10", "/dev/watchdog0", "/dev/bus/usb/001/001",
}  # fmt: skip
MACHINES = {
    "yellow": {
        *CARD, *BROADCOM, "/dev/ttyAMA1", "/dev/rtc0", "/dev/nvme0", "/dev/nvme0n1", "/dev/nvme0n1p1",
        "/dev/snd/controlC0", "/dev/snd/pcmC0D0p",
    },
    "green": {
        *CARD, *(f"/dev/gpiochip{number}" for number in range(5)), "/dev/ttyS2", "/dev/rtc0", "/dev/media0",
        "/dev/video0", "/dev/watchdog0", "/dev/bus/usb/001/001", "/dev/bus/usb/002/001",
    },
    "raspberry-pi-4": {
        *CARD, *BROADCOM, "/dev/ttyS0", "/dev/ttyACM0", "/dev/bus/usb/001/002", "/dev/bus/usb/001/003",
        *(f"/dev/snd/{kind}" for card in range(3) for kind in (f"controlC{card}", f"pcmC{card}D0p")),
    },
    "pc": {
        "/dev/sda", "/dev/sda1", "/dev/sda2", "/dev/sg0", "/dev/sdb", "/dev/sdb1", "/dev/ttyS0", "/dev/rtc0",
        "/dev/kvm", "/dev/dri/card0", "/dev/dri/renderD128", "/dev/hidraw0", "/dev/input/event3",
        "/dev/bus/usb/001/001", "/dev/bus/usb/001/004", "/dev/bus/usb/001/006", "/dev/snd/controlC0",
        "/dev/snd/pcmC0D0c", "/dev/snd/pcmC0D0p", "/dev/snd/pcmC0D3p",
    },
}  # fmt: skip
HUB = "/sys/devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb1/1-1"
ZIGBEE = "/dev/serial/by-id/usb-Silicon_Labs_CP2102N_USB_to_UART_Bridge_Controller_0c8b2f7e-if00-port0"


@pytest.fixture(scope="module")
def machines() -> Iterator[RecordedMachine]:
    """What can be any machine that is written down."""
    with RecordedMachine.started() as process:
        yield process


@pytest.mark.parametrize("name", MACHINES)
def test_machine_shows_its_devices_and_not_the_kernels_crowd(
    machines: RecordedMachine, tmp_path: Path, name: str
) -> None:
    with machines.being(tmp_path, name) as machine:
        answer = machine.get("/hardware/info")

    nodes = [device["dev_path"] for device in answer.data["devices"]]
    assert answer.status == 200
    assert sorted(nodes) == sorted(USUAL | MACHINES[name])
    assert answer.data["drives"] == []


def test_device_is_told_with_its_family_its_link_and_what_udev_says(machines: RecordedMachine, tmp_path: Path) -> None:
    with machines.being(tmp_path, "raspberry-pi-4") as machine:
        devices = machine.devices()
        found = [
            machine.device(path)
            for path in (
                "/dev/serial/by-id/usb-0658_0200-if00",
                f"{HUB}/1-1.2",
                "/dev/disk/by-label/hassos-data",
                "/dev/x",
            )
        ]

    stick, hub = devices["/dev/ttyACM0"], devices["/dev/bus/usb/001/002"]
    assert stick == {
        "name": "ttyACM0",
        "sysfs": f"{HUB}/1-1.2/1-1.2:1.0/tty/ttyACM0",
        "dev_path": "/dev/ttyACM0",
        "subsystem": "tty",
        "parent": f"{HUB}/1-1.2/1-1.2:1.0",
        "by_id": "/dev/serial/by-id/usb-0658_0200-if00",
        "attributes": stick["attributes"],
        "children": [],
    }
    assert stick["attributes"].items() >= {"MAJOR": "166", "ID_VENDOR_ID": "0658", "DEVNAME": "/dev/ttyACM0"}.items()
    assert hub["by_id"] is None
    assert hub["children"] == [
        f"{HUB}/{path}" for path in ("1-1.2", "1-1.2/1-1.2:1.0", "1-1.2/1-1.2:1.0/tty/ttyACM0", "1-1:1.0")
    ]
    assert found == ["/dev/ttyACM0", "/dev/bus/usb/001/003", "/dev/mmcblk0p8", None]


def test_sound_cards_are_inputs_and_outputs(machines: RecordedMachine, tmp_path: Path) -> None:
    with machines.being(tmp_path, "pc") as machine:
        answer = machine.get("/hardware/audio")

    assert {kind: [*names] for kind, names in answer.data["audio"].items()} == {
        "input": ["0,0"],
        "output": ["0,0", "0,3"],
    }


def test_device_that_is_plugged_in_is_told_of_and_shown_until_it_is_unplugged(
    machines: RecordedMachine, tmp_path: Path
) -> None:
    stick, bridge = ("/dev/ttyUSB0", "/dev/bus/usb/001/005")
    with machines.being(tmp_path, "pc") as machine:
        before = machine.get("/hardware/info")
        machine.plug("zigbee-stick")
        told_of_coming = machine.told(stick, there=True)
        there = (machine.devices())[stick], machine.device(ZIGBEE)
        tag = (machine.get("/hardware/info")).etag
        machine.unplug("zigbee-stick")
        told = machine.told(stick, there=False)
        after = machine.get("/hardware/info")

    assert told_of_coming == [(bridge, True), (stick, True)]
    assert (there[0]["by_id"], there[1]) == (ZIGBEE, stick)
    assert told == [(bridge, True), (stick, True), (bridge, False), (stick, False)]
    assert len({before.etag, tag, after.etag}) == 3
    assert after.data == before.data


@pytest.mark.parametrize("stays", [True, False])
def test_device_that_comes_and_goes_a_hundred_times_is_told_of_a_few_times_and_in_the_end_as_it_is(
    machines: RecordedMachine, tmp_path: Path, stays: bool
) -> None:
    disk = "/dev/sdc"
    with machines.being(tmp_path, "pc") as machine:
        machine.plug("memory-stick", 100, and_unplug=not stays)
        if not stays:
            # What was over before anybody looked is not told of at all; that the next one is, shows that all was heard.
            machine.plug("memory-stick")
        told = machine.told(disk, there=True)
        shown = machine.devices()

    of_disk = [there for node, there in told if node == disk]
    assert of_disk == [True, False] * (len(of_disk) // 2) + [True]
    assert len(of_disk) < 50
    assert of_each(told) == {"/dev/bus/usb/001/007": True, disk: True, "/dev/sdc1": True}
    assert of_each(told).keys() <= shown.keys()


def of_each(told: list[tuple[str, bool]]) -> dict[str, Any]:
    """The last that was told of each device."""
    return dict(told)
