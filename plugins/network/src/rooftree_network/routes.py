"""The routes of Network."""

from __future__ import annotations

from attrs import frozen

from rooftree import CallEnds, JobCall, JobStarted, NotFound, Role, Routes, role
from rooftree.interfaces.callers import OBSERVER
from rooftree_network.access_points import SeenNetworks, scan
from rooftree_network.change_jobs import change_interface, create_vlan
from rooftree_network.changed_device import InterfaceNotManaged, another_id
from rooftree_network.changes import InterfaceUpdate, VlanUpdate
from rooftree_network.host_network import HostNetwork
from rooftree_network.models import Interface, InterfaceName, NetworkInfo
from rooftree_network.trials import Trials, WaitingTrial

routes = Routes()
ANY_ROLE = role(Role.DEFAULT) | OBSERVER
MANAGER = role(Role.MANAGER)


def revision(network: HostNetwork) -> str:
    """Changes with what is known."""
    return network.revision


@routes.get("/network/info", access=ANY_ROLE, revision=revision)
async def info(network: HostNetwork) -> NetworkInfo:
    """The host's interfaces, the add-ons' network, and what can be reached."""
    return await network.info()


@routes.get("/network/interface/{interface}/info", access=ANY_ROLE)
async def interface_info(network: HostNetwork, interface: InterfaceName) -> Interface:
    """One interface."""
    return await network.interface(interface)


@routes.post("/network/reload", access=MANAGER)
def reload(network: HostNetwork) -> None:
    """Look at everything anew, and at what can be reached."""
    network.reload()


@routes.post("/network/interface/{interface}/update", access=MANAGER)
async def update_interface(
    network: HostNetwork, trials: Trials, interface: InterfaceName, body: InterfaceUpdate, ends: CallEnds
) -> JobCall[JobStarted | None]:
    """Change an interface. The change is tried: it stays when those are still reached who were before, or, where
    ``confirm_within`` is given, when somebody confirms it within so many seconds."""
    name = await _named(network, interface)
    key, secret = another_id(), body.wifi.psk if body.wifi is not None else None
    call = change_interface(interface=name, update=body, ends=ends, key=key)
    return call.during(trials.offered_key(key, secret)).in_background(body.confirm_within is not None)


@routes.get("/network/interface/{interface}/accesspoints", access=MANAGER)
async def access_points(network: HostNetwork, trials: Trials, interface: InterfaceName) -> SeenNetworks:
    """The wireless networks in range: looks first."""
    shown = await network.interface(interface)
    return await scan(trials.bus, trials.news, shown.interface)


@routes.post("/network/interface/{interface}/vlan/{id}", access=MANAGER)
async def add_vlan(
    network: HostNetwork, interface: InterfaceName, id: int, body: VlanUpdate, ends: CallEnds
) -> JobCall[JobStarted | None]:
    """Add a VLAN to an interface; it is tried as every change is."""
    name = await _named(network, interface)
    call = create_vlan(interface=name, number=id, update=body, ends=ends)
    return call.in_background(body.confirm_within is not None)


@frozen(kw_only=True)
class NetworkTrial:
    """What waits to be confirmed."""

    waiting: WaitingTrial | None


@routes.get("/kernel/v1/network/trial", access=MANAGER)
def trial(trials: Trials) -> NetworkTrial:
    """The change that waits for somebody to confirm it, if one does."""
    return NetworkTrial(waiting=trials.waiting)


@routes.post("/kernel/v1/network/confirm", access=MANAGER)
async def confirm(trials: Trials) -> None:
    """The change may stay that waits for somebody to confirm it: who can say so still reaches us. Answers when it
    stays."""
    await trials.confirm()


async def _named(network: HostNetwork, interface: InterfaceName) -> str:
    """The name of the interface that is meant."""
    try:
        return (await network.interface(interface)).interface
    except NotFound as error:
        raise InterfaceNotManaged(error.message, interface=str(interface)) from None
