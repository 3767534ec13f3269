"""A blocked event loop is noticed and named; one that stays so ends the process, and the culprit stays disabled."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rooftree.events.bus import EventBus
from rooftree.process.loop_watchdog import BEAT_S, EXIT_BLOCKED, NOTICE_S, LoopBlocked, LoopWatchdog
from rooftree.process.service_manager import notify, watchdog_period_s
from tests.kernel.daemon_process import Daemon, ended, printed


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with TemporaryDirectory(prefix="rt-") as folder:  # short, for the unix socket in it
        yield Daemon(Path(folder))


async def asked(daemon: Daemon) -> None:
    """Ask for what blocks; the answer may never come."""
    try:
        await daemon.get("/acme")
    except Exception:
        return


async def test_block_is_noticed_within_two_seconds_with_plugin_and_place_and_told_when_it_is_over(
    daemon: Daemon,
) -> None:
    daemon.install(in_route="time.sleep(3)")
    async with daemon.fork() as process:
        await printed(process, "plugins_started")

        asking = asyncio.create_task(asked(daemon))
        async with asyncio.timeout(2.5):  # it is told while the loop is blocked, not afterwards
            noticed = await printed(process, "loop_blocked")
        over = await printed(process, "loop_goes_on")
        await asking

        assert "plugin=acme" in noticed
        assert "acme.py:" in noticed
        assert "seconds=" in over
        assert (await daemon.get("/acme"))[0] == 200
    assert not (daemon.folder / "data" / "blocked-by.json").exists()


async def test_loop_that_stays_blocked_ends_the_process_and_keeps_the_culprit_out_until_it_is_enabled(
    daemon: Daemon,
) -> None:
    daemon.flags["kernel.blocked_exit_s"] = 3
    daemon.install(in_route="time.sleep(60)")
    async with daemon.fork() as process:
        await printed(process, "plugins_started")
        asking = asyncio.create_task(asked(daemon))
        status, said = await ended(process)
        await asking
    assert status == EXIT_BLOCKED
    assert "loop_stays_blocked" in said
    assert "acme.py" in said  # the stack, for whoever mends it
    del daemon.flags["kernel.blocked_exit_s"]

    async with daemon.fork() as process:
        await printed(process, "plugins_started")

        answer, body = await daemon.get("/acme")

        assert answer == 503
        assert "acme is disabled" in str(body["message"])
        assert "it blocked the event loop in" in str(body["message"])
    assert not (daemon.folder / "data" / "blocked-by.json").exists()


async def test_process_that_was_killed_while_it_was_blocked_keeps_the_culprit_out(daemon: Daemon) -> None:
    daemon.install(in_route="time.sleep(60)")
    note = daemon.folder / "data" / "blocked-by.json"
    async with daemon.fork(WATCHDOG_USEC="3000000") as process:  # so the culprit is written down after 1.5 s
        await printed(process, "plugins_started")
        asking = asyncio.create_task(asked(daemon))
        await printed(process, "loop_blocked")
        async with asyncio.timeout(3):
            while not note.exists():
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGABRT)  # as systemd does
        await process.wait()
        await asking

    async with daemon.fork() as process:
        await printed(process, "plugins_started")
        assert (await daemon.get("/acme"))[0] == 503


async def test_process_that_was_stopped_for_a_while_was_not_blocked(daemon: Daemon) -> None:
    daemon.flags["kernel.blocked_exit_s"] = 3
    async with daemon.fork() as process:
        await printed(process, "plugins_started")

        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(4)
        process.send_signal(signal.SIGCONT)

        assert (await daemon.get("/acme"))[0] == 200
        process.send_signal(signal.SIGTERM)
        status, said = await ended(process)
    assert status == 0
    assert "loop_blocked" not in said


async def test_service_manager_hears_from_the_loop_as_often_as_it_wants_to(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        address = daemon.folder / "notify"
        line.bind(str(address))
        loop = asyncio.get_running_loop()
        async with daemon.fork(NOTIFY_SOCKET=str(address), WATCHDOG_USEC="2000000") as process:
            await printed(process, "plugins_started")

            heard = {await loop.sock_recv(line, 100) for _ in range(3)}
            begun = loop.time()
            while await loop.sock_recv(line, 100) != b"WATCHDOG=1":
                pass

            assert heard >= {b"WATCHDOG=1", b"READY=1"}
            assert loop.time() - begun < 2


async def test_service_manager_hears_nothing_from_a_blocked_loop(daemon: Daemon) -> None:
    daemon.install(in_route="time.sleep(60)")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        address = daemon.folder / "notify"
        line.bind(str(address))
        loop = asyncio.get_running_loop()
        async with daemon.fork(NOTIFY_SOCKET=str(address), WATCHDOG_USEC="900000") as process:
            await printed(process, "plugins_started")
            asking = asyncio.create_task(asked(daemon))
            await printed(process, "loop_blocked")
            while True:  # what was said before
                try:
                    line.recv(100)
                except BlockingIOError:
                    break

            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.2):
                    await loop.sock_recv(line, 100)

            process.kill()
            await asking


def test_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_period_s() == 5.0

    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_period_s() is None


@pytest.mark.parametrize("period", ["", "0", "soon", "-5"])
def test_period_that_is_none_means_no_watchdog(monkeypatch: pytest.MonkeyPatch, period: str) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", period)

    assert watchdog_period_s() is None


def test_service_manager_that_is_gone_or_full_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "full"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "full"))
        for _ in range(10_000):  # nobody reads: a blocking send would hang here
            notify("WATCHDOG=1")


async def test_block_in_code_that_is_no_plugins_is_put_down_to_the_place_alone(tmp_path: Path) -> None:
    bus = EventBus()
    heard: asyncio.Future[LoopBlocked] = asyncio.get_running_loop().create_future()
    bus.subscribe(LoopBlocked, heard.set_result, "test")
    watchdog = LoopWatchdog(tmp_path, 0, lambda module: None, bus)
    watchdog.start()
    await asyncio.sleep(BEAT_S * 2)

    until = time.monotonic() + NOTICE_S + 4 * BEAT_S
    while time.monotonic() < until:
        pass

    blocked = await heard
    await watchdog.stop()
    assert blocked.plugin is None
    assert Path(__file__).name in blocked.where
    assert blocked.seconds >= NOTICE_S
    assert watchdog.blocks == 1
    assert watchdog.longest_lag_s >= NOTICE_S


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x00" * 100, b'{"plugin": "acme"}', b"\xff\xfe"])
async def test_note_of_an_earlier_process_that_cannot_be_read_keeps_nobody_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "blocked-by.json").write_bytes(content)
    watchdog = LoopWatchdog(tmp_path, 0, lambda module: None, EventBus())

    assert await asyncio.to_thread(watchdog.left_behind) is None
