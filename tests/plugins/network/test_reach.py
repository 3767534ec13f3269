"""Who has to answer after a change: a neighbour on a real wire, asked by ARP, and our own API at a real address."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from attrs import evolve
from dbus_fast import Variant

from rooftree import CallEnds
from rooftree.interfaces.bus import SystemBus
from rooftree_network import bus_news, reach
from rooftree_network.bus_news import BusNews
from rooftree_network.bus_objects import ACTIVATED, IP4_READY, IP6_READY, ActiveConnection, Device
from rooftree_network.changed_device import ChangedDevice
from rooftree_network.reach import NotReached, Reach, judge, reach_of
from tests.requirements import needs

pytestmark = needs(os.geteuid() == 0, "needs root, for a network of its own")

OURS, THEIRS = "192.0.2.7", "192.0.2.5"


def ip(*arguments: str, inside: int | None = None) -> None:
    enter = () if inside is None else ("nsenter", f"--target={inside}", "--net")
    subprocess.run([*enter, "ip", *arguments], check=True)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A network with one wire, which this thread is in: we are at its end near0, who asks at the other. The process id
    of that one."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE) as far:
        assert far.stdout is not None
        far.stdout.readline()
        os.unshare(os.CLONE_NEWNET)
        try:
            ip("link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", str(far.pid))
            ip("address", "add", f"{OURS}/24", "dev", "near0")
            ip("link", "set", "near0", "up")
            ip("link", "set", "lo", "up")
            ip("address", "add", f"{THEIRS}/24", "dev", "far0", inside=far.pid)
            ip("link", "set", "far0", "up", inside=far.pid)
            monkeypatch.setattr(reach, "ASKS_S", 0.3)
            monkeypatch.setattr(reach, "JUDGES_S", 2.0)
            yield far.pid
        finally:
            os.setns(here, os.CLONE_NEWNET)
            os.close(here)
            far.kill()


def near(*, gateways: tuple[str, ...] = ()) -> ChangedDevice:
    """Our end of it."""
    told = subprocess.run(["ip", "-json", "link", "show", "near0"], check=True, capture_output=True, text=True).stdout
    return ChangedDevice(
        name="near0", path="/", device=Device(mac=json.loads(told)[0]["address"].upper()), active=None, profile=None,
        uuid=None, settings={}, addresses=[f"{OURS}/24"], gateways=list(gateways),
    )  # fmt: skip


@asynccontextmanager
async def api() -> AsyncIterator[int]:
    """Somebody who listens at our address; the port."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), OURS) as server:
        yield server.sockets[0].getsockname()[1]


async def judged(device: ChangedDevice, before: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge a change after which the interface is like that."""

    async def read(bus: object, name: str) -> ChangedDevice:
        return device

    monkeypatch.setattr(reach.ChangedDevice, "read", read)
    await judge(cast("SystemBus", None), BusNews(), device.name, before)


async def test_who_asked_over_the_wire_has_to_answer(wire: int, monkeypatch: pytest.MonkeyPatch) -> None:
    device = near()
    before = await reach_of(device, CallEnds(theirs=THEIRS), is_sole=False)
    await judged(device, before, monkeypatch)
    ip("address", "del", f"{THEIRS}/24", "dev", "far0", inside=wire)

    with pytest.raises(NotReached, match=f"{THEIRS} does not answer"):
        await judged(device, before, monkeypatch)


async def test_who_did_not_answer_before_and_who_is_on_no_wire_of_ours_need_not(
    wire: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = near(gateways=("192.0.2.1",))
    silent = await reach_of(device, CallEnds(theirs="192.0.2.99"), is_sole=False)
    far_away = await reach_of(device, CallEnds(theirs="198.51.100.5"), is_sole=False)

    assert (silent.answered, silent.silent, far_away.answered) == ([], ["192.0.2.1"], [])
    await judged(device, silent, monkeypatch)


@pytest.mark.usefixtures("wire")
async def test_our_own_api_has_to_answer_at_the_address_that_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    device = near()
    async with api() as port:
        before = await reach_of(device, CallEnds(ours=OURS, port=port), is_sole=False)
        await judged(device, before, monkeypatch)

    with pytest.raises(NotReached, match=f"our own API does not answer at {OURS}"):
        await judged(device, before, monkeypatch)
    elsewhere = await reach_of(device, CallEnds(ours="198.51.100.7", port=port), is_sole=False)
    await judged(device, elsewhere, monkeypatch)


# --- addresses that come by themselves --------------------------------------------------------------------------------


def bare(flags: int) -> ChangedDevice:
    """A device in force that has no address yet, with two methods that bring some."""
    by_itself = {"method": Variant("s", "auto")}
    return ChangedDevice(
        name="near0", path="/", device=Device(), active=ActiveConnection(state=ACTIVATED, flags=flags), profile=None,
        uuid=None, settings={"ipv4": by_itself, "ipv6": by_itself}, addresses=["fe80::7/64"], gateways=[],
    )  # fmt: skip


async def test_address_that_may_still_come_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [bare(IP6_READY), evolve(bare(IP4_READY | IP6_READY), addresses=["192.0.2.101/24"])]
    news = BusNews()

    async def read(bus: object, name: str) -> ChangedDevice:
        news.tell()
        return states.pop(0)

    monkeypatch.setattr(reach.ChangedDevice, "read", read)
    await judge(cast("SystemBus", None), news, "near0", Reach(is_sole=True))

    assert states == []


@pytest.mark.parametrize(("flags", "looks"), [(IP4_READY | IP6_READY, 1), (IP6_READY, 2)], ids=["settled", "awaited"])
async def test_address_that_does_not_come_takes_the_change_back(
    monkeypatch: pytest.MonkeyPatch, flags: int, looks: int
) -> None:
    seen = 0

    async def read(bus: object, name: str) -> ChangedDevice:
        nonlocal seen
        seen += 1
        return bare(flags)

    monkeypatch.setattr(reach.ChangedDevice, "read", read)
    monkeypatch.setattr(reach, "JUDGES_S", 0.3)
    monkeypatch.setattr(bus_news, "LOOKS_S", 0.2)
    with pytest.raises(NotReached, match="it would have no address, and nothing else leads out of this host"):
        await judge(cast("SystemBus", None), BusNews(), "near0", Reach(is_sole=True))

    assert seen == looks
