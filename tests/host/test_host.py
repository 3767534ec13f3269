"""The test host itself: everything that others rely on is there, can be reached from outside, and is real."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.host.rig.bus import BusError, bus_of
from tests.host.rig.host import FOLDER_LABEL, Host, remove_orphans
from tests.rig.engine import Engine

pytestmark = pytest.mark.xdist_group("host")

SERVICES = {
    "org.freedesktop.hostname1": ("/org/freedesktop/hostname1", "org.freedesktop.hostname1", "StaticHostname"),
    "org.freedesktop.login1": ("/org/freedesktop/login1", "org.freedesktop.login1.Manager", "BlockInhibited"),
    "org.freedesktop.systemd1": ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "Virtualization"),
    "org.freedesktop.timedate1": ("/org/freedesktop/timedate1", "org.freedesktop.timedate1", "Timezone"),
    "org.freedesktop.resolve1": ("/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager", "LLMNR"),
    "org.freedesktop.NetworkManager": (
        "/org/freedesktop/NetworkManager",
        "org.freedesktop.NetworkManager",
        "ConnectivityCheckEnabled",
    ),
    "org.freedesktop.UDisks2": ("/org/freedesktop/UDisks2/Manager", "org.freedesktop.UDisks2.Manager", "Version"),
    "org.freedesktop.PolicyKit1": (
        "/org/freedesktop/PolicyKit1/Authority",
        "org.freedesktop.PolicyKit1.Authority",
        "BackendName",
    ),
    "de.pengutronix.rauc": ("/", "de.pengutronix.rauc.Installer", "Compatible"),
    "io.hass.os": ("/io/hass/os", "io.hass.os", "Version"),
}
"""A property of each service on the bus."""


async def journal_entries(host: Host, match: str) -> list[dict[str, str]]:
    """What the gateway says of entries that match."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(host.journal_socket))) as session,
        session.get(f"http://journal/entries?{match}", headers={"Accept": "application/json"}) as answer,
    ):
        assert answer.status == 200
        return [json.loads(line) for line in (await answer.text()).splitlines()]


def test_every_unit_that_is_to_run_runs(host: Host) -> None:
    failed = host.systemctl("list-units", "--failed", "--plain", "--no-legend")

    assert failed == ""
    assert host.systemctl("is-system-running") == "running"


@pytest.mark.parametrize("service", SERVICES)
async def test_service_answers_on_the_bus(host: Host, service: str) -> None:
    path, interface, name = SERVICES[service]

    async with bus_of(host) as bus:
        found = await bus.properties(service, path, interface)

    assert name in found


async def test_host_has_a_name_of_its_own_that_can_be_changed(host: Host) -> None:
    where = ("org.freedesktop.hostname1", "/org/freedesktop/hostname1")

    async with bus_of(host) as bus:
        await bus.call(*where, "org.freedesktop.hostname1.SetStaticHostname", "sb", "kitchen", False)
        changed = await bus.properties(*where, "org.freedesktop.hostname1")

    assert changed["StaticHostname"] == "kitchen"
    assert host.run("cat", "/etc/hostname") == "kitchen"
    assert socket.gethostname() != "kitchen"


def test_machine_has_no_more_kinds_of_control_groups_than_without_the_host(host: Host) -> None:
    mounted = {word for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup"
               for word in line.split()[3].split(",")}  # fmt: skip
    used = [line.split(":")[1].split(",") for line in Path("/proc/self/cgroup").read_text().splitlines()]

    assert [kinds for kinds in used if kinds != [""] and not mounted.intersection(kinds)] == []


async def test_the_machines_clock_is_out_of_reach(host: Host) -> None:
    where = ("org.freedesktop.timedate1", "/org/freedesktop/timedate1")

    async with bus_of(host) as bus:
        with pytest.raises(BusError, match="not permitted"):
            await bus.call(*where, "org.freedesktop.timedate1.SetTime", "xbb", 1, True, False)


async def test_line_of_a_container_reaches_the_journal_and_its_gateway(
    host: Host, engine: Engine, base_image: str
) -> None:
    engine.run("run", "--rm", "--name", "rig-speaker", base_image, "echo", "a line for the journal")

    entries = await journal_entries(host, "CONTAINER_NAME=rig-speaker")

    assert [(entry["MESSAGE"], entry["SYSLOG_IDENTIFIER"]) for entry in entries] == [
        ("a line for the journal", "rig-speaker")
    ]
    assert "a line for the journal" in host.journal("--boot", "CONTAINER_NAME=rig-speaker")


def test_pulseaudio_has_two_outputs_and_an_input(host: Host) -> None:
    def names(kind: str) -> set[str]:
        listed = host.run("pactl", "--server", "unix:/run/pulse/native", "list", "short", kind)
        return {row.split()[1] for row in listed.splitlines()}

    assert names("sinks") == {"speaker", "headphones"}
    assert names("sources") == {"speaker.monitor", "headphones.monitor", "microphone"}
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(host.pulse_socket))


def test_network_manager_has_an_ethernet_device_and_leaves_the_engines_bridges_alone(host: Host) -> None:
    rows = host.run("nmcli", "--terse", "--fields", "DEVICE,TYPE,STATE", "device").splitlines()

    states = {row.split(":")[0]: row.split(":")[1:] for row in rows}
    assert states["eth0"][0] == "ethernet" and states["eth0"][1].startswith("connected")
    assert states["docker0"] == ["bridge", "unmanaged"]


def test_loop_device_appears_to_udev_and_udisks_and_vanishes(host: Host) -> None:
    with host.loop_device(8 * 1024 * 1024) as device:
        host.run("mkfs.ext4", "-q", "-L", "stick", device)
        known = host.run("udevadm", "info", "--query=property", device)
        block = host.run("udisksctl", "info", "--block-device", device)
    used = host.run("losetup", "--list", "--noheadings", "--output", "NAME").split()

    assert "SUBSYSTEM=block" in known and f"DEVNAME={device}" in known
    assert "Size:                       8388608" in block
    assert device not in used


def test_disks_of_the_machine_are_out_of_reach(host: Host) -> None:
    disk = next(
        (path for path in Path("/sys/block").iterdir() if (path / "device").exists() and (path / "dev").exists()), None
    )
    if disk is None:
        pytest.skip("this machine has no disk of its own")
    major, minor = (disk / "dev").read_text().strip().split(":")
    host.run("mknod", "/dev/forbidden", "b", major, minor)

    with pytest.raises(RuntimeError, match="Operation not permitted"):  # to who is in the host's control group
        host.machine.run("exec", host.name, "dd", "if=/dev/forbidden", "of=/dev/null", "count=1")

    host.run("rm", "/dev/forbidden")


def test_mount_of_the_host_is_seen_on_the_machine(host: Host) -> None:
    folder = host.shared / "mounted"
    folder.mkdir()

    host.run("mount", "-t", "tmpfs", "tmpfs", folder)
    host.run("touch", folder / "file")
    seen = (folder / "file").exists()
    host.run("umount", folder)

    assert seen and not (folder / "file").exists()


def test_tests_and_what_they_start_live_in_the_hosts_network(host: Host) -> None:
    inside = host.run("readlink", "/proc/1/ns/net")

    assert str(Path("/proc/thread-self/ns/net").readlink()) == inside
    child = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == inside


def test_network_is_left_again_also_after_an_error(host: Host) -> None:
    namespace = Path("/proc/thread-self/ns/net")
    here = namespace.readlink()

    with pytest.raises(ZeroDivisionError), host.network():
        print(1 / 0)

    assert namespace.readlink() == here


def test_restart_is_a_boot_of_its_own_that_keeps_the_disks(host: Host) -> None:
    before = host.boot_id
    host.run("sh", "-c", "echo kept >/var/lib/kept; echo lost >/run/lost")

    host.restart()

    assert host.boot_id != before
    assert host.run("cat", "/var/lib/kept") == "kept"
    assert not (host.run_dir / "lost").exists()
    boots = [row.split()[1] for row in host.journal("--list-boots")]
    assert boots[-2:] == [before, host.boot_id]


async def test_reboot_over_the_bus_turns_the_host_off_and_it_comes_back(host: Host) -> None:
    before = host.boot_id
    async with bus_of(host) as bus:
        try:
            await bus.call(
                "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager.Reboot", "b", False
            )
        except BusError as error:  # the answer may go down with the bus
            assert "NoReply" in str(error), error

    host.wait_until_off()
    host.boot()

    assert host.boot_id != before


def test_reset_brings_masked_and_stopped_services_back(host: Host) -> None:
    services = ("NetworkManager.service", "udisks2.service", "docker.service", "systemd-journal-gatewayd.socket")
    host.systemctl("mask", "--runtime", "systemd-hostnamed.service")
    host.systemctl("stop", *services)

    host.reset()

    assert host.run("hostnamectl", "hostname") == "testhost"
    assert set(host.systemctl("is-active", *services).splitlines()) == {"active"}
    assert host.engine.run("info", "--format", "{{.LoggingDriver}}") == "journald"


def test_host_whose_owner_was_killed_is_taken_away_by_the_next_and_no_other(host: Host) -> None:
    folder = Path(f"{host.folder}-left")
    folder.mkdir()
    (folder / "owner").touch()
    host.machine.run("create", "--name", folder.name, "--label", f"{FOLDER_LABEL}={folder}", host.image)

    remove_orphans(host.machine)

    assert host.machine.run("ps", "--all", "--quiet", "--filter", f"name=^/{folder.name}$") == ""
    assert not folder.exists()
    assert host.running
