"""How long a change of the host's network takes that needs no reconnect: of a real NetworkManager, on the host of the
tests, with a router at the other end of the cable that is asked whether it is still reached."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import time
from collections.abc import Iterator

from rows import Bench, Row, Skipped

from tests.host.rig.host import Host, test_host
from tests.host.rig.image import Unavailable
from tests.host.rig.lan import lan
from tests.host.test_network_changes import FIRST, RECONNECTS_NEVER_S, connection_of, moved
from tests.rig.daemon import disposable_daemon
from tests.rig.engine import Engine

ADDRESSES = ("192.0.2.8/24", "192.0.2.9/24")
"""Which the interface has by turns."""


def network_change(bench: Bench) -> Iterator[Row]:
    if shutil.which("docker") is None:
        raise Skipped("the command docker")
    with contextlib.ExitStack() as closing:
        try:
            host = closing.enter_context(test_host(Engine()))
        except (Unavailable, RuntimeError) as error:
            raise Skipped(f"a test host: {error}") from None
        closing.enter_context(host.network())
        closing.enter_context(contextlib.redirect_stdout(sys.stderr))  # the daemon's log is none of the table
        seconds = asyncio.run(_changes(bench, host))
    against = "by NetworkManager, the gateway asked by ARP"
    yield Row("an address changed, no reconnect", seconds, " s", RECONNECTS_NEVER_S, False, against, seconds)


async def _changes(bench: Bench, host: Host) -> list[float]:
    """Seconds that each round's change took, which is checked to have been one, without a reconnect."""
    with lan(host) as cable:
        cable.profile(*FIRST)
        async with disposable_daemon(host.visible_engine) as daemon:
            await daemon.start()
            connection = await asyncio.to_thread(connection_of, cable)
            seconds = []
            for number, counts in enumerate(bench.rounds()):
                address = ADDRESSES[number % 2]
                began = time.perf_counter()
                await daemon.ok("POST", f"/network/interface/{cable.near}/update", moved(address))
                took_s = time.perf_counter() - began
                if await asyncio.to_thread(cable.addresses) != {address}:
                    raise RuntimeError(f"{cable.near} does not have the address {address}")
                if counts:
                    seconds.append(took_s)
            if await asyncio.to_thread(connection_of, cable) != connection:
                raise RuntimeError(f"{cable.near} was connected anew")
    return seconds
