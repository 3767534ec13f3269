"""The check of IPv4: every interface that is connected and wants an address has one."""

from __future__ import annotations

from typing import Final

from rooftree import Kernel, Problem
from rooftree_network.host_network import HostNetwork

SLUG: Final = "network_interface_ipv4"
PROBLEM: Final = "ipv4_connection_problem"


async def check_ipv4(kernel: Kernel, network: HostNetwork) -> None:
    """Report the interfaces that are without, and clear those that are not any more."""
    without = {
        interface.interface
        for interface in await network.interfaces()
        if interface.connected and interface.ipv4.method != "disabled" and interface.ipv4.ready is False
    }
    for problem in kernel.problems:
        if problem.type == PROBLEM and problem.reference not in without:
            kernel.problems.clear(PROBLEM, "system", problem.reference)
    for name in sorted(without):
        sentence = (
            f"The interface {name} is connected and has no usable IPv4 address: see whether the router gives out "
            "addresses (DHCP), or whether the fixed one is right"
        )
        kernel.problems.report(Problem(PROBLEM, "system", name, sentence))
