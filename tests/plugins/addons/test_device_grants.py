"""The rule by which hardware is granted: what the kernel says of a number decides, never a path or a label."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from rooftree_addons import InstalledAddon
from rooftree_addons.block_devices import BlockDevices
from rooftree_addons.device_grants import HardwareRule, grants
from rooftree_addons.device_paths import HostTree, node_at, read_attribute, why_not_canonical
from rooftree_addons.devices import DeviceNode, majors
from rooftree_addons.raw_access import why_raw, why_raw_node
from tests.plugins.addons.host_tree import RecordedHost
from tests.plugins.addons.house import HELLO, addon_config
from tests.requirements import needs

needs_root = needs(os.geteuid() == 0, "only root makes device nodes")


@pytest.fixture
def host(tmp_path: Path) -> RecordedHost:
    """A host with the disk sda that the system is on, and the disk sdb that nobody uses; two partitions each."""
    host = RecordedHost(tmp_path)
    for disk, major in (("sda", "8:0"), ("sdb", "8:16")):
        host.disk(disk, major)
        for number in (1, 2):
            host.partition(disk, f"{disk}{number}", f"8:{int(major[2:]) + number}")
    host.mount("8:2", "/")
    return host


def why_not(host: RecordedHost, number: str, data: Path | None = None) -> str | None:
    """Why a protected add-on may not have that block device."""
    major, _, minor = number.partition(":")
    return BlockDevices.read(data, host.tree).why_not((int(major), int(minor)))


def test_partition_that_nobody_uses_is_granted(host: RecordedHost) -> None:
    assert why_not(host, "8:17") is None


@pytest.mark.parametrize(("number", "reason"), [
    ("8:0", "whole disk"),
    ("8:16", "whole disk"),
    ("8:2", "the disk that the system runs from"),
    ("8:1", "the disk that the system runs from"),
    ("8:99", "no such disk"),
])  # fmt: skip
def test_whole_disks_and_the_systems_partitions_are_refused(host: RecordedHost, number: str, reason: str) -> None:
    assert reason in (why_not(host, number) or "")


@pytest.mark.parametrize("process", ["1", "self"])
def test_mounted_partition_is_refused_whoever_sees_the_mount(host: RecordedHost, process: str) -> None:
    host.mount("8:17", "/media/photos\\040and\\040films", process=process)

    assert why_not(host, "8:17") == "it is mounted at /media/photos and films"


@needs_root
def test_file_system_without_a_number_of_its_own_is_known_by_its_source(host: RecordedHost) -> None:
    host.node("sdb1", "8:17")
    host.node("sdb2", "8:18")
    host.mount("0:41", "/media/pool", source="/dev/sdb1:/dev/sdb2")

    assert why_not(host, "8:17") == why_not(host, "8:18") == "it is mounted at /media/pool"


@needs_root
def test_swap_is_refused(host: RecordedHost) -> None:
    host.node("sdb1", "8:17")
    host.swap_on("/dev/sdb1")

    assert why_not(host, "8:17") == "it is swap"


def test_part_of_raid_lvm_or_encryption_is_refused(host: RecordedHost) -> None:
    host.disk("dm-0", "253:0", made_of=["sdb1"])

    assert why_not(host, "8:17") == "it is part of dm-0"
    assert "whole disk" in (why_not(host, "253:0") or "")


def test_partition_of_a_disk_that_is_itself_part_of_something_is_refused(host: RecordedHost) -> None:
    host.disk("md0", "9:0", made_of=["sdb"])

    assert why_not(host, "8:17") == "the disk that it is on is in use: it is part of md0"


def test_system_is_known_through_every_layer_below_it(tmp_path: Path) -> None:
    host = RecordedHost(tmp_path)
    host.disk("sda", "8:0")
    host.partition("sda", "sda1", "8:1")
    host.partition("sda", "sda2", "8:2")
    host.disk("dm-0", "253:0", made_of=["sda2"])
    host.disk("dm-1", "253:1", made_of=["dm-0"])
    host.mount("253:1", "/")

    assert why_not(host, "8:1") == "it is on the disk that the system runs from"


@needs_root
def test_partition_of_a_loop_device_on_the_systems_disk_is_refused(host: RecordedHost) -> None:
    host.node("sda", "8:0")
    host.disk("loop0", "7:0")
    host.partition("loop0", "loop0p1", "259:0")
    (host.tree.sys / "block/loop0/loop").mkdir()
    (host.tree.sys / "block/loop0/loop/backing_file").write_text("/dev/sda\n")

    assert why_not(host, "259:0") == "it is on the disk that the system runs from"


@needs_root
def test_what_a_loop_device_is_made_of_is_in_use(host: RecordedHost) -> None:
    host.node("sdb1", "8:17")
    host.disk("loop0", "7:0")
    (host.tree.sys / "block/loop0/loop").mkdir()
    (host.tree.sys / "block/loop0/loop/backing_file").write_text("/dev/sdb1\n")

    assert why_not(host, "8:17") == "it is what loop0 is made of"


def test_disk_of_the_data_folder_is_the_systems(host: RecordedHost, tmp_path: Path) -> None:
    host.mount("8:17", str(tmp_path))

    assert why_not(host, "8:18", tmp_path / "data") == "it is on the disk that the system runs from"
    assert why_not(host, "8:18") is None


CHARACTERS = [
    ("1:1", "mem", True), ("1:2", "kmem", True), ("1:4", "port", True), ("1:11", "kmsg", True), ("1:12", "", True),
    ("1:3", "null", False), ("1:9", "urandom", False),
    ("4:1", "tty1", True), ("4:64", "ttyS0", False), ("5:1", "console", True), ("7:1", "vcs1", True),
    ("10:144", "nvram", True), ("10:231", "snapshot", True), ("10:236", "control", True),
    ("10:237", "loop-control", True), ("10:234", "btrfs-control", True), ("10:223", "uinput", True),
    ("10:196", "vfio", True), ("10:62", "nobody knows", True), ("10:61", "", True),
    ("10:229", "fuse", False), ("10:200", "tun", False), ("10:232", "kvm", False),
    ("13:64", "event0", False), ("81:0", "video0", False), ("226:0", "card0", False), ("189:3", "usb", False),
    ("90:0", "mtd0", True), ("162:1", "raw1", True), ("202:0", "msr0", True), ("240:0", "nvme0", True),
    ("241:0", "hidraw0", False), ("242:0", "0:0:0:0", True), ("243:0", "tpmrm0", True), ("244:0", "vcio", True),
    ("250:0", "apex_0", False), ("251:0", "not there", True),
]  # fmt: skip
"""Number, the kernel's name, and whether it is more than hardware."""


@pytest.mark.parametrize(("number", "name", "refused"), CHARACTERS)
def test_ways_around_the_kernel_are_told_from_hardware(tmp_path: Path, number: str, name: str, refused: bool) -> None:
    host = RecordedHost(tmp_path)
    if name:
        host.character(number, name)
    major, _, minor = number.partition(":")

    assert (why_raw_node(int(major), int(minor), host.tree) is not None) is refused


@pytest.mark.parametrize(
    ("scsi_type", "refused"), [(0, True), (14, True), (20, True), (None, True), (5, False), (6, False)]
)
def test_scsi_generic_is_granted_for_what_says_that_it_is_no_disk(
    tmp_path: Path, scsi_type: int | None, refused: bool
) -> None:
    host = RecordedHost(tmp_path)
    host.character("21:0", "sg0", scsi_type)

    assert (why_raw_node(21, 0, host.tree) is not None) is refused


@given(st.integers(0, 2**20), st.text(max_size=12), st.text(max_size=12))
def test_class_of_devices_is_never_one_with_a_refused_device(major: int, driver: str, device: str) -> None:
    for minor in (0, 1, 63, 64):
        if why_raw(major, None, driver=driver, device=None) is None:
            assert why_raw(major, minor, driver=driver, device=None) is None


def test_class_rules_pass_no_driver_that_only_sounds_like_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    drivers = {1: "hidraw", 10: "hidraw-misc", 202: "media", 242: "hidraw", 243: "media"}
    monkeypatch.setattr("rooftree_addons.devices.character_drivers", lambda tree: drivers)

    assert majors(["hidraw", "media"]) == [242, 243]


WRONG_PATHS = [
    "/dev/../etc/passwd", "/sys/../data/x", "/dev//sda", "//dev/sda", "/dev/./sda", "/dev/sda/", "/dev", "/dev/",
    "dev/sda", "", "/etc/passwd", "/dev/sda\0", "/sys/\ud800", "/devices/x", "/dev/" + "x" * 5000, "/sys/..", "/dev/..",
]  # fmt: skip


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_path_that_is_not_as_the_kernel_writes_it_is_refused(path: str) -> None:
    assert why_not_canonical(path) is not None
    assert node_at(path) is None


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(["..", ".", "", "dev", "sys", "a", "\0", "\ud800"])).map("/".join))
)
def test_canonical_path_stays_below_dev_and_sys(text: str) -> None:
    for path in (text, f"/dev/{text}", f"/sys/{text}"):
        if why_not_canonical(path) is None:
            assert os.path.normpath(path) == path
            assert path.startswith(("/dev/", "/sys/"))
            assert not {"..", "."} & set(path.split("/"))
            path.encode()


@needs_root
def test_links_are_followed_below_dev_and_no_further(tmp_path: Path) -> None:
    host = RecordedHost(tmp_path)
    dev = host.tree.dev
    host.node("sda1", "8:1")
    elsewhere = tmp_path / "elsewhere"
    os.mknod(elsewhere, 0o060600, os.makedev(8, 1))
    (dev / "by-id").mkdir()
    (dev / "by-id" / "good").symlink_to("../sda1")
    (dev / "absolute").symlink_to("/dev/by-id/good")
    (dev / "out").symlink_to("../elsewhere")
    (dev / "by-id" / "far").symlink_to("../../elsewhere")
    (dev / "gone").symlink_to(elsewhere)
    (dev / "round").symlink_to("round")
    (dev / "through").symlink_to("sda1/x")

    real = {name: (node_at(f"/dev/{name}", host.tree) or (None,))[0] for name in (
        "sda1", "by-id/good", "absolute", "out", "by-id/far", "gone", "round", "through", "by-id"
    )}  # fmt: skip

    assert {name: path for name, path in real.items() if path} == {
        "sda1": "/dev/sda1", "by-id/good": "/dev/sda1", "absolute": "/dev/sda1"
    }  # fmt: skip


@needs_root
def test_node_in_another_file_system_below_dev_is_none() -> None:
    shared = Path("/dev/shm")
    if shared.stat().st_dev == Path("/dev").stat().st_dev:
        pytest.skip("nothing is mounted below /dev here")
    mine = shared / f"rooftree-test-{os.getpid()}"
    os.mknod(mine, 0o020600, os.makedev(1, 7))
    try:
        assert node_at("/dev/full") is not None
        assert node_at(str(mine)) is None
    finally:
        mine.unlink()


def test_attribute_that_is_a_pipe_is_not_read(tmp_path: Path) -> None:
    tree = HostTree(sys=tmp_path)
    os.mkfifo(tmp_path / "uevent")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "long").write_text("x" * 100_000)

    assert read_attribute(tmp_path / "uevent", tree) is None
    assert read_attribute(tmp_path / "zero", tree) is None
    assert len(read_attribute(tmp_path / "long", tree) or "") == 4096
    assert read_attribute(Path("/proc/version"), tree) is None


def test_add_ons_own_choice_is_no_disk_and_no_other_add_ons_device(host: RecordedHost) -> None:
    disk, stick = DeviceNode("/dev/sdb1", "b", 8, 17), DeviceNode("/dev/hidraw0", "c", 241, 0)
    user = HardwareRule(protected=True, data=None, tree=host.tree)
    itself = HardwareRule(protected=False, data=None, private=[stick.number], own_choice=True, tree=host.tree)

    assert (user.why_not(disk), user.why_not(stick)) == (None, None)
    assert "disk" in (itself.why_not(disk) or "")
    assert "another add-on's" in (itself.why_not(stick) or "")
    assert itself.why_not(DeviceNode("/dev/hidraw1", "c", 241, 1)) is None
    assert "choose for itself" in (itself.why_not(DeviceNode("/dev/mem", "c", 1, 1)) or "")


def add_on(protected: bool = True, **config: object) -> InstalledAddon:
    """An add-on with that configuration."""
    fresh = InstalledAddon.fresh(HELLO, "x:1", addon_config("hello", **config), set())
    return evolve(fresh, protected=protected)


def test_refused_devices_are_named_with_the_reason_and_granted_without_protection() -> None:
    asked = ["/dev/null", "/dev/kmsg", "/dev/nothing-like-this", "/dev/../etc/\x1b[2J"]

    protected = grants(add_on(devices=asked), (), None)
    unprotected = grants(add_on(devices=asked, protected=False), (), None)

    assert protected.rules == ("c 1:3 rwm",)
    assert [device.path for device in protected.refused] == ["/dev/kmsg", "/dev/../etc/\\x1b[2J"]
    assert unprotected.rules == ("c 1:3 rwm", "c 1:11 rwm")
    assert "hardware granted: /dev/null" in protected.sentences()
    assert any("/dev/kmsg (it controls the kernel)" in line for line in protected.sentences())


def test_endless_list_of_devices_has_a_short_answer() -> None:
    hardware = grants(add_on(devices=[f"/dev/x{number}/../y" for number in range(3000)]), (), None)

    assert len(hardware.sentences()) == 21
    assert hardware.sentences()[-1] == "hardware refused: 2980 more"
    assert "more than 1000 devices" in hardware.refused[-1].reason


def test_everything_is_only_for_full_access_without_protection() -> None:
    assert grants(add_on(full_access=True), (), None).rules == ()
    assert grants(add_on(full_access=True, protected=False), (), None).rules == ("a *:* rwm",)
