"""What NetworkManager says, as our own reader has it: ``python -m tests.host.rig.network_reading BUS``, a line of JSON.

NetworkManager shows profiles to processes that it can see only. The daemons of these tests are outside of the host's
process namespace, and this is run inside (``nsenter --pid``).
"""

from __future__ import annotations

import asyncio
import json
import sys

import attrs

from rooftree_host.system_bus import HostBus
from rooftree_network.network_manager import NetworkManager


async def main() -> None:
    """Read it once."""
    bus = HostBus(sys.argv[1], lambda _: None)
    await bus.connect()
    network = await NetworkManager(bus).network()
    await bus.close()
    print(json.dumps({entry.interface: attrs.asdict(entry) for entry in network.interfaces}))


if __name__ == "__main__":
    asyncio.run(main())
