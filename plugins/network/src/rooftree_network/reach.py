"""Whether an interface can still be reached after a change: by those on its wire who answered before, by its gateway,
and at our own API by the address that somebody has called."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from attrs import frozen

from rooftree import CallEnds, Failed
from rooftree.interfaces.bus import SystemBus
from rooftree_network.bus_news import BusNews
from rooftree_network.changed_device import ChangedDevice, InterfaceNotManaged
from rooftree_network.neighbours import answers, in_reach

JUDGES_S: Final = 6.0
"""Seconds within which everybody has to have answered: a switch may take some until it passes anything on. Clients wait
ten for the answer to all of it."""
ASKS_S: Final = 1.0
"""Seconds that one answer may take."""
CONFIRM: Final = "ask for the same with confirm_within, and confirm it from where you still reach Rooftree"


@frozen(kw_only=True)
class Reach:
    """Who could be reached over an interface before it was changed."""

    answered: Sequence[str] = ()
    """Addresses of those on its wire who answered."""
    silent: Sequence[str] = ()
    """Gateways that did not answer before either, or can't be asked from here."""
    has_gateway: bool = False
    """Whether its gateway answered."""
    is_sole: bool = False
    """Whether no other interface leads anywhere else."""
    called: str | None = None
    """The address of ours by which the change was asked for, where that is one of this interface's …"""
    port: int | None = None
    """… and the port."""


class NotReached(Failed):
    """After the change somebody could not be reached any more, and so it does not stay."""

    status = 400
    error_key = "host_network_interface_update_error"


async def reach_of(device: ChangedDevice, ends: CallEnds, *, is_sole: bool) -> Reach:
    """Who can be reached now; asks all of them."""
    own = device.addresses
    wanted = dict.fromkeys(device.gateways)
    if ends.theirs is not None and ends.theirs not in _hosts(own) and in_reach(ends.theirs, own):
        wanted[ends.theirs] = None
    told = await asyncio.gather(*(answers(device.name, device.mac, address, own, ASKS_S) for address in wanted))
    answered = [address for address, answer in zip(wanted, told, strict=True) if answer]
    is_called = ends.ours is not None and ends.ours in _hosts(own)
    return Reach(
        answered=answered,
        silent=[gateway for gateway in device.gateways if gateway not in answered],
        has_gateway=any(gateway in answered for gateway in device.gateways),
        is_sole=is_sole,
        called=ends.ours if is_called else None,
        port=ends.port if is_called else None,
    )


async def judge(bus: SystemBus, news: BusNews, name: str, before: Reach) -> None:
    """Return as soon as everybody answers who has to; raises :class:`NotReached`."""
    reasons = ["nobody had been asked"]

    async def all_answer() -> bool | None:
        try:
            device = await ChangedDevice.read(bus, name)
        except InterfaceNotManaged:  # a VLAN that was taken out of use
            refuse_cut_off(name, before, [], [])
            return True
        cut_off = _cut_off(before, device.addresses, device.gateways)
        if cut_off is not None and not device.awaits_addresses:
            raise _not_reached(name, cut_off)
        reasons[:] = [cut_off] if cut_off is not None else await _silent(device, before)
        return True if not reasons else None

    try:
        await news.until(all_answer, JUDGES_S)
    except TimeoutError:
        raise _not_reached(name, "; ".join(reasons)) from None


def refuse_cut_off(name: str, before: Reach, own: Sequence[str], gateways: Sequence[str]) -> None:
    """Raise :class:`NotReached` where an interface with such addresses and gateways certainly leads nowhere any more,
    and somebody needs it."""
    if (reason := _cut_off(before, own, gateways)) is not None:
        raise _not_reached(name, reason)


def _cut_off(before: Reach, own: Sequence[str], gateways: Sequence[str]) -> str | None:
    reaching = [address for address in own if not ipaddress.ip_interface(address).is_link_local]
    if not reaching and before.called is not None:
        return f"it would have no address, and you ask over {before.called}"
    if not reaching and before.is_sole:
        return "it would have no address, and nothing else leads out of this host"
    if not gateways and before.is_sole and before.has_gateway:
        return "it would have no gateway, and nothing else leads further than its own network"
    return None


def _not_reached(name: str, reason: str) -> NotReached:
    return NotReached(f"The change to {name} does not stay: {reason}. If that is meant, {CONFIRM}", interface=name)


async def _silent(device: ChangedDevice, before: Reach) -> list[str]:
    """Who does not answer that has to."""
    own = device.addresses
    asked = [address for address in before.answered if in_reach(address, own) and address not in _hosts(own)]
    asked += [gateway for gateway in device.gateways if gateway not in {*before.silent, *asked}]
    told = await asyncio.gather(*(answers(device.name, device.mac, address, own, ASKS_S) for address in asked))
    reasons = [f"{address} does not answer" for address, answer in zip(asked, told, strict=True) if answer is False]
    if before.called in _hosts(own) and not await _accepts(str(before.called), before.port or 0):
        reasons.append(f"our own API does not answer at {before.called} any more")
    return reasons


async def _accepts(address: str, port: int) -> bool:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(ASKS_S):
            _, writer = await asyncio.open_connection(address, port)
        writer.close()
        return True
    return False


def _hosts(own: Sequence[str]) -> set[str]:
    return {address.partition("/")[0] for address in own}
