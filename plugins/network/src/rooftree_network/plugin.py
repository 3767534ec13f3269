"""The table of contents of this domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from attrs import field, frozen, validators
from yarl import URL

from rooftree import Kernel, Plugin, Routes, Task, hookimpl
from rooftree.interfaces.bus import SYSTEM_BUS, BusConnected, BusLost, BusPropertiesChanged, BusServiceChanged
from rooftree.interfaces.containers import CONTAINER_ENGINE, EngineConnected
from rooftree.interfaces.hooks import HealthCheck
from rooftree.interfaces.network import NETWORK
from rooftree_network.host_network import HOST_NETWORK, HostNetwork
from rooftree_network.internet import Internet
from rooftree_network.ipv4_check import SLUG, check_ipv4
from rooftree_network.routes import routes
from rooftree_network.trials import TRIALS, Trials


def _addresses(_: object, __: object, value: Sequence[str]) -> None:
    for text in value:
        if URL(text).scheme not in {"http", "https"} or not URL(text).host:
            raise ValueError(f"internet_endpoints: must be addresses such as https://example.com/, not {text!r}")


@frozen
class NetworkSettings:
    """``[plugins.network]`` in rooftree.toml."""

    internet_endpoints: list[str] = field(
        factory=lambda: ["https://checkonline.home-assistant.io/online.txt"],
        validator=[validators.max_len(8), _addresses],
    )
    """What is asked (``HEAD``) every ten minutes whether the internet is reached, and twice a minute while it is not;
    empty: nobody."""


class NetworkPlugin(Plugin):
    """The host's network: its interfaces, how they are changed, and whether anything beyond them can be reached."""

    name = "network"
    provides = (NETWORK, HOST_NETWORK, TRIALS)
    optional = (SYSTEM_BUS, CONTAINER_ENGINE)
    settings = NetworkSettings

    async def setup(self, kernel: Kernel) -> None:
        """Listen to the kernel; everything else is asked when somebody wants to know."""
        endpoints = [URL(text) for text in kernel.settings(NetworkSettings).internet_endpoints]
        self.kernel = kernel
        self.internet = Internet(partial(kernel.find, SYSTEM_BUS), endpoints, kernel.publish)
        self.network = network = HostNetwork(kernel, self.internet)
        network.news.listen()
        kernel.defer(network.news.close)
        kernel.provide(NETWORK, self.internet)
        kernel.provide(HOST_NETWORK, network)
        trials = Trials(kernel)
        kernel.provide(TRIALS, trials)
        for kind in (BusConnected, BusLost, BusServiceChanged, BusPropertiesChanged):
            kernel.on(kind, self.internet.bus_said)
            kernel.on(kind, trials.news.told)
        kernel.on(EngineConnected, lambda _: network.addon_networks.forget())
        kernel.condition("internet_host", network.why_cut_off)
        kernel.condition("internet_system", network.why_cut_off)

    def routes(self) -> Routes:
        """``/network/…``, and what confirms a change."""
        return routes

    def tasks(self) -> Iterable[Task]:
        """Know what can be reached."""
        yield Task("internet of the host", self.internet.follow_host)
        yield Task("internet", self.internet.follow_own)

    @hookimpl
    def health_checks(self) -> list[HealthCheck]:
        """Whether interfaces have the addresses that they want."""
        return [HealthCheck(slug=SLUG, run=partial(check_ipv4, self.kernel, self.network))]
