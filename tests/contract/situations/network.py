"""Changing the network."""

from __future__ import annotations

from tests.contract.situations.scene import Call, Scene, situation

UPDATE = "POST /network/interface/{interface}/update"
VLAN = "POST /network/interface/{interface}/vlan/{id}"
FIXED = {"method": "static", "address": ["192.0.2.8/24"], "gateway": "192.0.2.1"}


@situation(UPDATE)
async def address_of_a_wire(scene: Scene) -> Call:
    return Call("/network/interface/eth0/update", {"ipv4": FIXED})


@situation(UPDATE)
async def what_is_so_already(scene: Scene) -> Call:
    return Call("/network/interface/eth0/update", {"mdns": "announce"})


@situation(UPDATE)
async def another_wireless_network(scene: Scene) -> Call:
    return Call("/network/interface/wlan0/update", {"wifi": {"ssid": "attic", "auth": "sae", "psk": "up the ladder"}})


@situation(UPDATE)
async def wire_that_nobody_has_set_up(scene: Scene) -> Call:
    return Call("/network/interface/eth1/update", {"ipv4": FIXED, "enabled": True})


@situation(UPDATE)
async def wireless_card_out_of_use(scene: Scene) -> Call:
    return Call("/network/interface/wlan1/update", {"enabled": False})


@situation(VLAN)
async def vlan_on_a_wire(scene: Scene) -> Call:
    return Call("/network/interface/eth0/vlan/7", {})
