"""The network that add-ons are on, as the container engine has it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import IPv4Network
from typing import Final

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.containers import CONTAINER_ENGINE, AddonNetwork
from rooftree_network.models import AddonNetworkInfo

ANSWER_S: Final = 2.0
"""Seconds that the engine may take; then what it said before is what there is."""
KEPT_S: Final = 60.0
"""Seconds for which it is not asked again."""
USUAL: Final = AddonNetwork(
    name="hassio", interface="hassio", subnet="172.30.32.0/23", gateway="172.30.32.1", supervisor="172.30.32.2"
)
"""What it is going to be where nobody has set anything else, and no engine has said so far."""
NAMES: Final = 3
"""The number of the address that is kept for the base service of names. The engine hands out the upper half only."""


class AddonNetworks:
    """Asks the engine, and remembers what it said."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._network: AddonNetwork | None = None
        self._until = 0.0
        self.revision = 0
        """Another number when there may be another network."""

    async def network(self) -> AddonNetwork | None:
        """As the engine said last; ``None`` where it has never said anything."""
        engine, now = self._kernel.find(CONTAINER_ENGINE), asyncio.get_running_loop().time()
        if engine is not None and now >= self._until:
            self._until = now + KEPT_S
            with suppress(RooftreeError, TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    self._network = await engine.network()
        return self._network

    def forget(self) -> None:
        """Ask when it is wanted next: the engine has come back, perhaps with another one."""
        self._until = 0.0
        self.revision += 1


def addon_network_info(network: AddonNetwork | None) -> AddonNetworkInfo:
    """The same for clients, who always want one: the usual one where there is none yet."""
    known = network or USUAL
    subnet = IPv4Network(known.subnet)
    return AddonNetworkInfo(
        interface=known.interface,
        address=known.subnet,
        gateway=known.gateway,
        dns=str(subnet[min(NAMES, subnet.num_addresses - 1)]),
    )
