"""The event bus: nobody waits for anybody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import frozen

from rooftree import Event, Kernel, Plugin
from rooftree.events import bus as events
from rooftree.events.bus import EventBus
from rooftree.process import SystemState, SystemStateChanged
from rooftree.testing import running_system


@frozen
class Counted(Event):
    number: int


@frozen
class CountedTwice(Counted):
    pass


@frozen
class Other(Event):
    pass


async def test_listener_gets_every_event_of_its_type_and_of_subtypes_in_order() -> None:
    bus, seen = EventBus(), list[Event]()
    bus.subscribe(Counted, seen.append, "test")

    for event in (Counted(1), Other(), CountedTwice(2), Counted(3)):
        bus.publish(event)
    await bus.drained()

    assert seen == [Counted(1), CountedTwice(2), Counted(3)]


async def test_publishing_returns_before_any_listener_runs() -> None:
    bus, seen = EventBus(), list[Event]()
    bus.subscribe(Counted, seen.append, "test")

    bus.publish(Counted(1))

    assert seen == []


async def test_slow_and_broken_listeners_delay_nobody() -> None:
    bus, seen, go_on = EventBus(), list[Event](), asyncio.Event()

    async def slow(event: Counted) -> None:
        await go_on.wait()

    def broken(event: Counted) -> None:
        raise RuntimeError("a bug in a listener")

    for listener in (slow, broken, seen.append):
        bus.subscribe(Counted, listener, "test")

    for number in range(5):
        bus.publish(Counted(number))
    while len(seen) < 5:
        await asyncio.sleep(0)

    assert seen == [Counted(number) for number in range(5)]
    go_on.set()
    await bus.drained()


async def test_listener_that_fails_gets_the_next_event() -> None:
    bus, seen = EventBus(), list[int]()

    def sometimes(event: Counted) -> None:
        seen.append(event.number)
        if event.number == 1:
            raise ValueError

    bus.subscribe(Counted, sometimes, "test")
    for number in range(3):
        bus.publish(Counted(number))
    await bus.drained()

    assert seen == [0, 1, 2]


async def test_slow_listener_loses_the_oldest_and_the_loss_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "BACKLOG", 3)
    bus, seen, go_on = EventBus(), list[int](), asyncio.Event()

    async def slow(event: Counted) -> None:
        seen.append(event.number)
        await go_on.wait()

    bus.subscribe(Counted, slow, "sleepy")
    bus.publish(Counted(0))
    while not seen:
        await asyncio.sleep(0)
    for number in range(1, 11):
        bus.publish(Counted(number))
    go_on.set()
    await bus.drained()

    assert seen == [0, 8, 9, 10]
    assert "events_dropped" in caplog.text
    assert "sleepy" in caplog.text


async def test_listener_may_publish_and_cancel_itself() -> None:
    bus, seen = EventBus(), list[int]()

    async def once(event: Counted) -> None:
        seen.append(event.number)
        bus.publish(Counted(event.number + 1))
        await subscription.cancel()

    subscription = bus.subscribe(Counted, once, "test")
    bus.publish(Counted(1))
    await bus.drained()
    bus.publish(Counted(5))
    await bus.drained()

    assert seen == [1]


async def test_cancelling_ends_one_listener_only() -> None:
    bus, mine, others = EventBus(), list[Event](), list[Event]()
    subscription = bus.subscribe(Counted, mine.append, "mine")
    bus.subscribe(Counted, others.append, "others")

    await subscription.cancel()
    bus.publish(Counted(1))
    await bus.drained()

    assert mine == []
    assert others == [Counted(1)]


async def test_cancelling_ends_a_listener_that_hangs() -> None:
    bus, cancelled = EventBus(), asyncio.Event()
    began = asyncio.Event()

    async def hanging(event: Counted) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    subscription = bus.subscribe(Counted, hanging, "test")
    bus.publish(Counted(1))
    await began.wait()

    await subscription.cancel()

    assert cancelled.is_set()


async def test_listener_that_ignores_cancellation_does_not_hold_up_the_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "CANCEL_S", 0.01)
    bus, go_on, began = EventBus(), asyncio.Event(), asyncio.Event()

    async def stubborn(event: Counted) -> None:
        began.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    subscription = bus.subscribe(Counted, stubborn, "stubborn")
    bus.publish(Counted(1))
    await began.wait()

    await subscription.cancel()

    assert "listener_does_not_end" in caplog.text
    go_on.set()


async def test_subscriptions_of_a_plugin_end_with_it(tmp_path: Path) -> None:
    seen = list[Event]()

    class Listening(Plugin):
        name = "listening"

        async def setup(self, kernel: Kernel) -> None:
            kernel.on(Counted, seen.append)
            kernel.publish(Counted(1))

    async with running_system(tmp_path, plugins=[Listening]) as system:
        await system.bus.drained()
        bus = system.bus
    bus.publish(Counted(2))
    await bus.drained()

    assert seen == [Counted(1)]


async def test_system_that_runs_and_one_that_stops_is_told(tmp_path: Path) -> None:
    told: list[SystemState] = []

    class Listening(Plugin):
        name = "listening"

        async def setup(self, kernel: Kernel) -> None:
            kernel.on(SystemStateChanged, lambda event: told.append(event.state))

    async with running_system(tmp_path, plugins=[Listening]) as system:
        await system.bus.drained()
        assert told == [SystemState.RUNNING]

    assert told == [SystemState.RUNNING, SystemState.STOPPING]
