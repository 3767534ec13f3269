"""The routes of Network."""

from __future__ import annotations

from rooftree import Role, Routes, role
from rooftree.interfaces.callers import OBSERVER
from rooftree_network.host_network import HostNetwork
from rooftree_network.models import Interface, InterfaceName, NetworkInfo

routes = Routes()
ANY_ROLE = role(Role.DEFAULT) | OBSERVER


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


@routes.post("/network/reload", access=role(Role.MANAGER))
def reload(network: HostNetwork) -> None:
    """Look at everything anew, and at what can be reached."""
    network.reload()
