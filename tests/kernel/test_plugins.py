"""What can be wrong with a plugin, and that nobody else notices."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import PUBLIC, CallerKind, Event, Kernel, Plugin, Routes, Task
from rooftree.plugins import scope
from rooftree.plugins.life import Health
from rooftree.testing import Client, InstalledPlugin, running_system
from tests.kernel.plugins_under_test import THING, Fine, RaisingSetup, Thing, import_error, info_of, routes_of, sys_exit


class OtherName(Plugin):
    name = "somebody"


class NearMiss(Plugin):
    name = "broken"

    async def set_up(self, kernel: Kernel) -> None: ...


class NearMissRoutes(Plugin):
    name = "broken"

    def route(self) -> Routes:
        return Routes()


class RaisingConstructor(Plugin):
    name = "broken"

    def __init__(self) -> None:
        raise OSError("no such device")


class RaisingRoutes(Plugin):
    name = "broken"

    def routes(self) -> Routes:
        raise LookupError("no routes today")


class UnboundRoute(Plugin):
    name = "broken"

    def routes(self) -> Routes:
        return routes_with_handler(lambda wrong: None)


def routes_with_handler(handler: Callable[..., Any]) -> Routes:
    found = Routes()
    found.get("/broken", access=PUBLIC)(handler)
    return found


class WordlessSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        raise ValueError


class CancelledSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task


class LeavingSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        sys.exit(3)


class SetupWithOwnDeadline(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        raise TimeoutError("the lamp did not answer")


class OthersListener(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        try:
            await kernel.listen("tcp", listening)
        finally:
            listening.close()


class OthersTokens(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        kernel.register_kind(CallerKind("token"), lambda subject: None)


class HangingSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        await asyncio.Event().wait()


class NotProviding(Plugin):
    name = "broken"
    provides = (THING,)


class ProvidingMore(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(THING, Thing())


class Lacking(Plugin):
    name = "broken"
    requires = (THING,)


class TwoTasks(Plugin):
    name = "broken"

    def tasks(self) -> Iterable[Task]:
        return [Task("same", asyncio.Event().wait), Task("same", asyncio.Event().wait)]  # type: ignore[arg-type]


class DuplicateRoute(Plugin):
    name = "broken"

    def routes(self) -> Routes:
        return routes_of("/own", "/fine")


class RouteTwice(Plugin):
    name = "broken"

    def routes(self) -> Routes:
        return routes_of("/own", "/own")


BROKEN: dict[str, tuple[type[Plugin] | InstalledPlugin, str]] = {
    "import error": (
        InstalledPlugin("broken", import_error),
        "ModuleNotFoundError: No module named 'acme' (tests/kernel/plugins_under_test.py:",
    ),
    "exit at import": (InstalledPlugin("broken", sys_exit), "SystemExit"),
    "no plugin class": (InstalledPlugin("broken", lambda: int), "no subclass of rooftree.Plugin"),
    "an instance": (InstalledPlugin("broken", Fine), "no subclass of rooftree.Plugin"),
    "other name": (InstalledPlugin("broken", lambda: OtherName), "'somebody'"),
    "near miss": (NearMiss, "NearMiss.set_up: did you mean setup?"),
    "near miss of routes": (NearMissRoutes, "NearMissRoutes.route: did you mean routes?"),
    "constructor": (RaisingConstructor, "no such device"),
    "routes": (RaisingRoutes, "no routes today"),
    "handler": (UnboundRoute, "parameter wrong needs a type"),
    "setup": (RaisingSetup, "the cable is loose"),
    "setup without a word": (WordlessSetup, "ValueError"),
    "setup that waits for what was cancelled": (CancelledSetup, "CancelledError"),
    "setup that leaves": (LeavingSetup, "SystemExit: 3"),
    "setup with a deadline of its own": (SetupWithOwnDeadline, "the lamp did not answer"),
    "listener of the kernel": (OthersListener, "the listener tcp is somebody else's already"),
    "tokens of the kernel": (OthersTokens, "tokens of kind token are somebody else's already"),
    "hanging setup": (HangingSetup, "setup took more than 0.2 s"),
    "does not provide": (NotProviding, "setup did not provide thing/1"),
    "provides more": (ProvidingMore, "provides thing/1 without declaring it"),
    "missing requirement": (Lacking, "it requires thing/1, which no plugin that can start provides"),
    "two tasks": (TwoTasks, "two tasks called same"),
    "route of another": (DuplicateRoute, "GET /fine of plugin broken is already declared by plugin fine"),
    "route twice": (RouteTwice, "already declared by plugin broken"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_broken_plugin_is_failed_with_the_reason_and_the_others_are_served(tmp_path: Path, what: str) -> None:
    plugin, reason = BROKEN[what]

    async with (
        running_system(
            tmp_path, plugins=[Fine, plugin], settings={"kernel.start_timeout_s": 0.2}, allow={"plugin_failed"}
        ) as system,
        Client.over_tcp(system) as client,
    ):
        broken = info_of(system, "broken")
        assert broken.state is Health.FAILED
        assert reason in (broken.reason or "")
        assert [problem.reference for problem in system.problems if problem.type == "plugin_failed"] == ["broken"]
        assert info_of(system, "fine").state is Health.OK
        assert (await client.get("/fine")).status == 200
        assert system.services.find(THING) is None


async def test_hanging_import_is_given_up_and_holds_up_neither_the_others_nor_the_stop(tmp_path: Path) -> None:
    go_on = threading.Event()

    def hanging() -> type[Plugin]:
        go_on.wait(30)
        return Fine

    try:
        async with (
            asyncio.timeout(5),
            running_system(
                tmp_path,
                plugins=[InstalledPlugin("hanging", hanging), Fine],
                settings={"kernel.start_timeout_s": 0.1},
                allow={"plugin_failed"},
            ) as system,
        ):
            assert "not imported within 0.1 s" in (info_of(system, "hanging").reason or "")
            assert info_of(system, "fine").state is Health.OK
    finally:
        go_on.set()


async def test_others_have_their_turn_between_the_plugins_whose_routes_are_bound(tmp_path: Path) -> None:
    turns: list[str] = []

    class First(Plugin):
        name = "first"

        def routes(self) -> Routes:
            asyncio.get_running_loop().call_soon(turns.append, "others")
            return routes_of("/first")

    class Second(Plugin):
        name = "second"

        def routes(self) -> Routes:
            turns.append(self.name)
            return routes_of("/second")

    async with running_system(tmp_path, plugins=[First, Second]):
        assert turns == ["others", "second"]


class Listening(Plugin):
    """Hands its kernel out."""

    name = "listening"
    given: ClassVar[Kernel]

    async def setup(self, kernel: Kernel) -> None:
        Listening.given = kernel


async def test_plugin_takes_its_listener_back_and_opens_another(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Listening]) as system:
        first = socket.create_server(("127.0.0.1", 0))
        port = first.getsockname()[1]
        await Listening.given.listen("own", first)

        await Listening.given.unlisten("own")
        await Listening.given.unlisten("own")

        assert first.fileno() == -1
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        second = socket.create_server(("127.0.0.1", 0))  # gets the number of the closed file
        await Listening.given.listen("own", second)
        _, writer = await asyncio.open_connection(*second.getsockname())
        writer.close()
        assert "own" in system.server.listeners


@pytest.mark.parametrize("turns", range(4))  # of the loop: to take a connection and to know it are two
async def test_whoever_was_taken_as_a_listener_closes_is_answered_or_refused(tmp_path: Path, turns: int) -> None:
    async with running_system(tmp_path, plugins=[Listening]):
        listening = socket.create_server(("127.0.0.1", 0))
        await Listening.given.listen("own", listening)
        with socket.create_connection(listening.getsockname(), timeout=10) as asking:
            asking.sendall(b"GET / HTTP/1.1\r\nHost: rooftree\r\n\r\n")
            for _ in range(turns):
                await asyncio.sleep(0)

            await Listening.given.unlisten("own")

            try:
                answer = await asyncio.to_thread(asking.recv, 100)
            except ConnectionResetError:
                assert turns < 2
            else:
                assert answer.startswith(b"HTTP/1.1 ")


async def test_plugin_cannot_take_a_listener_of_others_back(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Listening]) as system:
        before = dict(system.server.listeners)

        await Listening.given.unlisten("tcp")

        assert system.server.listeners == before and "tcp" in before


async def test_failed_plugin_gets_everything_taken_back(tmp_path: Path) -> None:
    happened = list[str]()

    class Rung(Event):
        """Nobody else's."""

    class Greedy(Plugin):
        name = "greedy"
        provides = (THING,)

        async def setup(self, kernel: Kernel) -> None:
            kernel.provide(THING, Thing())
            kernel.on(Rung, lambda event: happened.append("heard"))
            listening = socket.create_server(("127.0.0.1", 0))
            await kernel.listen("greedy", listening)
            raise RuntimeError("but no")

        async def stop(self) -> None:
            happened.append("stop")

    async with running_system(tmp_path, plugins=[Greedy, Fine], allow={"plugin_failed"}) as system:
        system.bus.publish(Rung())
        await system.bus.drained()

        assert happened == ["stop"]
        assert system.services.find(THING) is None
        assert "greedy" not in system.server.listeners


async def test_plugin_that_raises_in_stop_and_one_that_hangs_there_do_not_keep_the_system_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scope, "STOP_S", 0.05)
    stopped = list[str]()

    class Raising(Plugin):
        name = "raising"

        async def stop(self) -> None:
            raise RuntimeError("a bug")

    class Hanging(Plugin):
        name = "hanging"

        async def stop(self) -> None:
            await asyncio.Event().wait()

    class Orderly(Plugin):
        name = "orderly"

        async def stop(self) -> None:
            stopped.append("orderly")

    async with running_system(tmp_path, plugins=[Orderly, Raising, Hanging]):
        pass

    assert stopped == ["orderly"]
    assert "plugin_stop_failed" in caplog.text
    assert "plugin_stop_timed_out" in caplog.text
