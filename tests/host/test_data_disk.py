"""The disk with the data, with the real UDisks2: which disks are offered, what is asked of the OS agent, and that what
is declared of their objects is so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from rooftree.interfaces.bus import BusMethod, BusObject
from rooftree_host.bus_properties import declared
from rooftree_machine import agent, udisks
from rooftree_os import bus_objects as objects
from rooftree_os.disks import PARTITION_NAME, PARTITION_TYPE
from tests.host.rig.bus import BusError, bus_of, method_of, properties_of
from tests.host.rig.host import Host
from tests.host.rig.releases import HomeAssistantOs
from tests.rig.daemon import Daemon

pytestmark = pytest.mark.xdist_group("host")

MIB = 1024 * 1024
DISK = {"vendor": "Acme", "model": "SSD", "serial": "0002"}
READ: Sequence[tuple[type, BusObject]] = [
    (objects.Installer, objects.INSTALLER),
    (agent.Agent, agent.OS_AGENT),
    (objects.DataDisk, objects.DATA_DISK),
    (objects.Swap, objects.SWAP),
]
CALLED: Sequence[tuple[BusObject, BusMethod]] = [
    (objects.INSTALLER, objects.INSTALL_BUNDLE),
    (objects.INSTALLER, objects.MARK),
    (objects.INSTALLER, objects.GET_SLOT_STATUS),
    (objects.INSTALLER, objects.GET_PRIMARY),
    (objects.DATA_DISK, objects.MARK_DATA_MOVE),
    (objects.DATA_DISK, objects.CHANGE_DEVICE),
    (objects.AGENT_SYSTEM, objects.SCHEDULE_WIPE),
]
OF_DISKS: Mapping[str, Mapping[str, str]] = {
    udisks.BLOCK: {
        "CryptoBackingDevice": "o",
        "Device": "ay",
        "Drive": "o",
        "IdLabel": "s",
        "IdType": "s",
        "IdUsage": "s",
        "MDRaidMember": "o",
        "PreferredDevice": "ay",
        "ReadOnly": "b",
        "Size": "t",
        "Symlinks": "aay",
    },
    udisks.DRIVE: {"Id": "s", "Model": "s", "Optical": "b", "Serial": "s", "Vendor": "s"},
    udisks.PARTITION: {"Name": "s", "Table": "o", "Type": "s"},
    udisks.FILESYSTEM: {"MountPoints": "aay"},
}
"""What :mod:`rooftree_os.disks` reads of what UDisks2 lists."""


# --- what is declared is so -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "at"), READ, ids=lambda value: getattr(value, "__name__", None))
async def test_declared_properties_are_those_of_the_service(host: Host, kind: type, at: BusObject) -> None:
    async with bus_of(host) as bus:
        real = properties_of(await bus.interface(at.service, at.path, at.interface))

    assert {said.name: said.signature for said in declared(kind).values()}.items() <= real.items()


@pytest.mark.parametrize(("at", "method"), CALLED, ids=lambda value: getattr(value, "name", None))
async def test_declared_methods_are_those_of_the_service(host: Host, at: BusObject, method: BusMethod) -> None:
    async with bus_of(host) as bus:
        takes, returns = method_of(await bus.interface(at.service, at.path, at.interface), method.name)

    assert method.takes == takes
    assert method.returns in {returns, None}  # agents differ in what they return


async def test_what_is_read_and_called_of_disks_is_there_in_udisks(host: Host) -> None:
    with host.disk(32 * MIB, **DISK) as device:
        name = device.removeprefix("/dev/")
        block = f"{udisks.UDISKS_PATH}/block_devices/{name}"
        at = {udisks.BLOCK: block, udisks.DRIVE: f"{udisks.UDISKS_PATH}/drives/Acme_SSD_0002"}
        async with bus_of(host) as bus:
            made = await bus.interface(udisks.UDISKS, block, udisks.BLOCK)
            await bus.call(udisks.UDISKS, block, f"{udisks.BLOCK}.Format", "sa{sv}", "ext4", {})
            filesystem = await bus.interface(udisks.UDISKS, block, udisks.FILESYSTEM)
            await bus.call(udisks.UDISKS, block, f"{udisks.BLOCK}.Format", "sa{sv}", "gpt", {})
            table = await bus.interface(udisks.UDISKS, block, udisks.PARTITION_TABLE)
            with pytest.raises(BusError, match="Failed to open"):  # nobody makes nodes of partitions on the test host
                made_of = (0, 0, PARTITION_TYPE, PARTITION_NAME, {})
                await bus.call(udisks.UDISKS, block, f"{udisks.PARTITION_TABLE}.CreatePartition", "ttssa{sv}", *made_of)
            at[udisks.PARTITION] = f"{block}p1"
            layout = host.run("sfdisk", "--dump", device)
            real = {udisks.FILESYSTEM: properties_of(filesystem)}
            real |= {name: properties_of(await bus.interface(udisks.UDISKS, path, name)) for name, path in at.items()}

    assert {name: {key: real[name].get(key) for key in keys} for name, keys in OF_DISKS.items()} == OF_DISKS
    assert f"type={PARTITION_TYPE.upper()}" in layout and f'name="{PARTITION_NAME}"' in layout
    for method, interface in ((objects.FORMAT, made), (objects.CREATE_PARTITION, table)):
        assert (method.takes, method.returns or "") == method_of(interface, method.name)


# --- moving the data --------------------------------------------------------------------------------------------------


on_yellow = pytest.mark.parametrize("home_assistant_os", [HomeAssistantOs("16.3", "yellow")], indirect=True, ids=str)
LARGE = 2**43
"""Bytes; more than there is on the machine's own disk. (The file behind the device is all holes.)"""


@on_yellow
async def test_disk_that_udisks_knows_is_offered_while_it_is_there_and_large_enough(
    host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon
) -> None:
    await daemon.start()
    film = daemon.data_dir / "media" / "film"  # the tests' files may have a file system of their own, with little on it
    await asyncio.to_thread(film.write_bytes, b"x" * 65 * MIB)

    with host.disk(LARGE, **DISK) as device:
        listed = await daemon.ok("GET", "/os/datadisk/list")
    with host.disk(64 * MIB, **DISK) as small:
        refused = await daemon.call("POST", "/os/datadisk/move", {"device": small})
        none = await daemon.ok("GET", "/os/datadisk/list")

    assert listed == {
        "devices": ["Acme-SSD-0002"],
        "disks": [
            {
                "name": "Acme SSD (0002)",
                "vendor": "Acme",
                "model": "SSD",
                "serial": "0002",
                "size": LARGE,
                "id": "Acme-SSD-0002",
                "dev_path": device,
            }
        ],
    }
    assert none == {"devices": [], "disks": []}
    assert (refused[0], refused[1]["error_key"]) == (400, "os_data_disk_refused_error")
    assert f"it is too small: it has {64 * MIB} bytes" in refused[1]["message"]
    assert host.agent.called("io.hass.os.DataDisk.ChangeDevice") == []


@pytest.mark.torture  # it reboots the host
@on_yellow
async def test_agent_is_told_to_move_the_data_to_the_device_of_the_disk_and_the_host_is_rebooted(
    host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon
) -> None:
    host.agent.configure(**{"io.hass.os.Version": "1.4.1"})  # which partitions the disk itself
    await daemon.start()

    with host.disk(LARGE, **DISK) as device:
        moved = await daemon.call("POST", "/os/datadisk/move", {"device": "Acme-SSD-0002"})
        host.wait_until_off()
        await daemon.stop()
        host.boot()

    assert moved[0] == 200
    assert host.agent.called("io.hass.os.DataDisk.ChangeDevice") == [[device]]
