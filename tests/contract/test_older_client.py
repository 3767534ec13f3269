"""Every call for the network and mounts, in the version of the official client that today's Core pins: by a program of
its own, for two versions don't fit into one."""

from __future__ import annotations

import json
from pathlib import Path

from rooftree.testing import running_system
from rooftree_mounts.plugin import MountsPlugin
from tests.contract.test_official_client_network import house, older, run_with_older
from tests.plugins.mounts.conftest import Shares, shares

__all__ = ["older", "shares"]  # fixtures

HEAD = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from ipaddress import IPv4Address, IPv4Interface
from pathlib import PurePath
from aiohasupervisor import SupervisorClient
from aiohasupervisor.exceptions import SupervisorError
from aiohasupervisor.models import *
from aiohasupervisor.models.mounts import MountCifsVersion, MountUsage

async def main():
    async with SupervisorClient(sys.argv[2], sys.argv[3]) as client:
        print(json.dumps(await calls(client)))
"""
NETWORK = """
async def calls(client):
    fixed = IPv4Config(method=InterfaceMethod.STATIC, address=[IPv4Interface("192.0.2.8/24")],
                       gateway=IPv4Address("192.0.2.1"))
    off = IPv6Config(method=InterfaceMethod.DISABLED)
    await client.network.update_interface("default", NetworkInterfaceConfig(ipv4=fixed, ipv6=off))
    attic = WifiConfig(ssid="attic", method=AuthMethod.WPA_PSK, psk="up the ladder")
    await client.network.update_interface("wlan0", NetworkInterfaceConfig(wifi=attic))
    await client.network.save_vlan("eth0", 7, VlanConfig(ipv4=fixed))
    vlan = await client.network.interface_info("eth0.7")
    await client.network.update_interface("eth0.7", NetworkInterfaceConfig(enabled=False))
    await client.network.reload()
    shown = {entry.interface: entry for entry in (await client.network.info()).interfaces}
    points = await client.network.access_points("wlan0")
    return [str(shown["eth0"].ipv4.address[0]), str(shown["eth0"].ipv6.method), shown["wlan0"].wifi.ssid,
            vlan.vlan.id, len(points)]
"""
MOUNTS = """
async def calls(client):
    cifs = CIFSMountRequest(usage=MountUsage.BACKUP, server="nas", share="films", username="ha", password="secret",
                            version=MountCifsVersion.LEGACY_2_0)
    nfs = NFSMountRequest(usage=MountUsage.MEDIA, server="nas", path=PurePath("/films"))
    await client.mounts.create_mount("nas", cifs)
    await client.mounts.create_mount("films", nfs)
    info = await client.mounts.info()
    await client.mounts.options(MountsOptions(default_backup_mount=None))
    await client.mounts.update_mount("films", NFSMountRequest(usage=MountUsage.SHARE, server="nas",
                                                              path=PurePath("/films")))
    await client.mounts.reload_mount("films")
    await client.mounts.delete_mount("nas")
    after = await client.mounts.info()
    refused = ""
    try:
        await client.mounts.create_mount("gone", CIFSMountRequest(usage=MountUsage.SHARE, server="nas", share="none"))
    except SupervisorError as error:
        refused = str(error)
    return [info.default_backup_mount, [(mount.name, str(mount.state)) for mount in info.mounts],
            [(mount.name, str(mount.user_path)) for mount in after.mounts], refused]
"""
END = "asyncio.run(main())"


async def test_network_is_changed_by_the_older_client(tmp_path: Path, older: Path) -> None:
    async with house(tmp_path, manager=True) as system:
        told = json.loads(await run_with_older(older, system, HEAD + NETWORK + END))

    assert told == ["192.0.2.8/24", "disabled", "attic", 7, 2]


async def test_mounts_are_made_changed_and_removed_by_the_older_client(
    tmp_path: Path, older: Path, shares: Shares
) -> None:
    shares.add("films")
    shares.add("/films")
    async with running_system(tmp_path, plugins=[MountsPlugin]) as system:
        default, listed, after, refused = json.loads(await run_with_older(older, system, HEAD + MOUNTS + END))

    assert default == "nas"
    assert listed == [["films", "active"], ["nas", "active"]]
    assert after == [["films", "/share/films"]]
    assert "gone could not be mounted: mount error(2)" in refused
