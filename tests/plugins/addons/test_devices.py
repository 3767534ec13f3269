"""Devices: which an add-on may have, and what happens when one appears that it asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rooftree import Kernel, Plugin
from rooftree.interfaces.hardware import HARDWARE, Device
from rooftree.interfaces.hooks import hardware_added, hardware_removed
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import container, devices, hotplug
from rooftree_addons.device_paths import HostTree
from rooftree_addons.devices import DeviceNode, HostDevices, other_serial_ports
from rooftree_addons.hotplug import allow
from rooftree_store import DeviceRefused
from tests.plugins.addons.house import HELLO, House, done, house

FULL = Device(name="full", sysfs="/sys/devices/virtual/mem/full", dev_path="/dev/full", subsystem="mem")
LINK = "/dev/serial/by-id/usb-acme-if00"
RULE = "c 1:7 rwm"


def test_device_is_found_by_node_link_and_sysfs_path() -> None:
    found = HostDevices()

    assert [found.find(path) for path in ("/dev/full", "/sys/devices/virtual/mem/full")] == [
        DeviceNode("/dev/full", "c", 1, 7),
        DeviceNode("/dev/full", "c", 1, 7),
    ]
    assert found.find("/sys/devices/virtual/mem") is None
    with pytest.raises(DeviceRefused, match="below /dev or /sys"):
        found.find("/etc/passwd")


class KnownHardware(Plugin):
    """What the host's plugin knows of a machine with a stick."""

    name = "known_hardware"
    provides = (HARDWARE,)
    revision = "1"

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(HARDWARE, self)

    def devices(self) -> tuple[Device, ...]:
        return (
            FULL,
            Device(name="ttyUSB0", sysfs="/sys/x", dev_path="/dev/null", subsystem="tty", by_id=LINK),
            Device(name="ttyS0", sysfs="/sys/y", dev_path="/dev/zero", subsystem="tty"),
            Device(name="mem", sysfs="/sys/z", dev_path="/dev/kmsg", subsystem="tty"),
            Device(name="ttyUSB9", sysfs="/sys/gone", dev_path="/dev/ttyUSB9", subsystem="tty"),
        )

    def device(self, path: str) -> Device | None:
        return None

    async def reload(self) -> None:
        pass


async def test_devices_to_choose_from_are_offered_by_the_links_that_last(
    tmp_path: Path, engine: FakeContainerEngine
) -> None:
    async with house(tmp_path, engine, plugins=[KnownHardware]) as home:
        await home.install(config={"schema": {"stick": "device(subsystem=tty)", "any": "device?"}, "options": {}})

        fields = (await home.info(HELLO))["schema"]

    assert {field["name"]: field["options"] for field in fields} == {
        "stick": [LINK, "/dev/zero"],
        "any": ["/dev/full", LINK, "/dev/zero"],
    }


def test_consoles_are_no_serial_ports(tmp_path: Path) -> None:
    for name, numbers in {"ttyX0": "full", "ttyX1": "null", "ttyX2": "tty1", "console": "zero"}.items():
        folder = tmp_path / "class" / "tty" / name
        folder.mkdir(parents=True)
        (folder / "uevent").write_text(f"MAJOR=1\nDEVNAME={numbers}\n")
        if name != "console":
            (folder / "device").symlink_to(".")

    assert [port.path for port in other_serial_ports(HostTree(sys=tmp_path))] == ["/dev/full", "/dev/null"]


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where cgroup v1 would show the rules of containers; nothing is there."""
    monkeypatch.setattr(hotplug.allow, "__defaults__", (tmp_path / "cgroup",))
    return tmp_path / "cgroup"


async def appears(home: House) -> None:
    """Let the device appear."""
    await home.system.hooks.call(hardware_added, FULL)


async def with_device(home: House, **config: Any) -> None:
    """An add-on that runs, and asks for the device."""
    await home.run(config=config)


@pytest.mark.parametrize(
    "config",
    [
        {"devices": ["/dev/full"]},
        {"devices": ["/sys/devices/virtual/mem/full"]},
        {"schema": {"stick": "device"}, "options": {"stick": "/dev/full"}},
    ],
)
async def test_add_on_that_lacks_its_device_is_a_problem_until_it_is_restarted(
    home: House, cgroup: Path, config: dict[str, Any]
) -> None:
    await with_device(home, **config)

    await appears(home)
    problem = home.problem("device_access_missing")
    done(await home.post(HELLO, "restart"))
    await home.quiet()

    assert problem is not None
    assert problem.suggestions == ("execute_restart",)
    assert "/dev/full" in problem.message
    assert home.problem("device_access_missing") is None


async def test_problem_ends_when_the_device_goes_again(home: House, cgroup: Path) -> None:
    await with_device(home, devices=["/dev/full"])
    await appears(home)
    before = home.problem("device_access_missing")

    await home.system.hooks.call(hardware_removed, FULL)

    assert before is not None
    assert home.problem("device_access_missing") is None


@pytest.mark.parametrize("group", ["docker/{}", "system.slice/docker-{}.scope"])
async def test_rule_is_added_to_a_container_of_cgroup_v1(home: House, cgroup: Path, group: str) -> None:
    await with_device(home, devices=["/dev/full"])
    shown = await home.container()
    assert shown is not None
    rules = cgroup / group.format(shown.id) / "devices.allow"
    rules.parent.mkdir(parents=True)
    rules.touch()

    await appears(home)

    assert rules.read_text() == RULE
    assert home.problem("device_access_missing") is None


def test_rule_that_the_kernel_refuses_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "docker" / "id" / "devices.allow").mkdir(parents=True)  # cannot be written to, by root neither

    assert allow("id", DeviceNode("/dev/full", "c", 1, 7), tmp_path) is False


@pytest.mark.parametrize("reason", ["asks for another", "does not run", "has its class", "has all"])
async def test_nothing_is_said_of_who_does_not_lack_it(
    home: House, cgroup: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    if reason == "has its class":
        monkeypatch.setattr(devices, "USB_MAJORS", (1,))
    await with_device(
        home,
        devices=["/dev/null" if reason == "asks for another" else "/dev/full"],
        usb=reason == "has its class",
        full_access=reason == "has all",
    )
    if reason == "does not run":
        done(await home.post(HELLO, "stop"))
    elif reason == "has all":
        done(await home.post(HELLO, "security", {"protected": False}))

    await appears(home)

    assert home.problem("device_access_missing") is None


async def test_full_access_that_is_kept_from_it_by_protection_lacks_the_device(home: House, cgroup: Path) -> None:
    await with_device(home, devices=["/dev/full"], full_access=True)

    await appears(home)

    assert home.problem("device_access_missing") is not None


async def test_device_that_is_missing_is_no_problem_of_a_container_that_ended(home: House, cgroup: Path) -> None:
    await with_device(home, devices=["/dev/full"])
    await appears(home)
    before = home.problem("device_access_missing")

    home.engine.crash(f"app_{HELLO}")
    await home.quiet()

    assert before is not None
    assert home.problem("device_access_missing") is None


async def test_device_that_appears_and_is_not_for_a_protected_add_on_is_refused_by_name(
    home: House, cgroup: Path
) -> None:
    await with_device(home, devices=["/dev/kmsg"])
    home.system.problems.clear("device_refused", "addon", HELLO)

    await home.system.hooks.call(hardware_added, evolve(FULL, dev_path="/dev/kmsg"))

    problem = home.problem("device_refused")
    assert problem is not None
    assert "/dev/kmsg" in problem.message
    assert home.problem("device_access_missing") is None


@pytest.mark.parametrize(("budget", "expected"), [(0, None), (189_999, None), (950_000, 190_000)])
async def test_real_time_is_given_where_the_engine_has_some(
    home: House, monkeypatch: pytest.MonkeyPatch, budget: int, expected: int | None
) -> None:
    monkeypatch.setattr(container, "realtime_budget_us", lambda: budget)

    await home.run(config={"realtime": True})

    assert home.engine.spec(f"app_{HELLO}").cpu_realtime_runtime_us == expected
