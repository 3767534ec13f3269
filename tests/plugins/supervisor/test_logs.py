"""``/supervisor/logs`` and what is below it."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest

from rooftree.process import RecentLogs
from rooftree.testing import Client

NINE = datetime(2026, 1, 31, 9, 0, 0, 123_000, UTC)
LATER = datetime(2046, 1, 31, 9, tzinfo=UTC)
"""After whatever the system logs while the tests run."""


@pytest.fixture
def three_lines(client: Client, logs: RecentLogs) -> RecentLogs:
    """A log whose last three lines, logged when the system had started, are known."""
    for text in ("one", "\x1b[31mtwo\x1b[0m", "three"):
        logs.append(NINE, text)
    return logs


@pytest.mark.usefixtures("three_lines")
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/supervisor/logs?lines=2", "\x1b[31mtwo\x1b[0m\nthree\n"),
        ("/supervisor/logs?lines=2&no_colors", "two\nthree\n"),
        ("/supervisor/logs/latest?lines=2", "two\nthree\n"),
    ],
)
async def test_last_lines_are_sent_as_asked(client: Client, path: str, text: str) -> None:
    answer = await client.get(path)

    assert (answer.status, answer.text) == (200, text)
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["X-Accel-Buffering"] == "no"


@pytest.mark.usefixtures("three_lines")
async def test_verbose_line_names_time_host_and_process(client: Client) -> None:
    answer = await client.get("/supervisor/logs?lines=1", headers={"Accept": "text/x-log"})

    assert answer.text == f"2026-01-31 09:00:00.123 {socket.gethostname()} rooftree[{os.getpid()}]: three\n"


async def test_a_hundred_lines_are_sent_unless_more_are_asked_for(client: Client, logs: RecentLogs) -> None:
    for number in range(250):
        logs.append(NINE, str(number))

    recently = (await client.get("/supervisor/logs")).text.splitlines()
    latest = (await client.get("/supervisor/logs/latest")).text.splitlines()
    ranged = (await client.get("/supervisor/logs", headers={"Range": "entries=:-9:3"})).text.splitlines()

    assert (len(recently), recently[0], recently[-1]) == (100, "150", "249")
    assert latest[-250:] == [str(number) for number in range(250)]
    assert ranged == ["240", "241", "242"]


@pytest.mark.usefixtures("three_lines")
async def test_followed_log_goes_on_with_what_is_logged(client: Client, logs: RecentLogs) -> None:
    async with (
        asyncio.timeout(10),
        client.streaming("GET", "/supervisor/logs/follow?lines=1") as answer,
    ):
        first = await answer.content.readline()
        logs.append(NINE, "four")
        second = await answer.content.readline()

    assert (first, second) == (b"three\n", b"four\n")


@pytest.mark.usefixtures("three_lines")
async def test_followed_log_from_the_first_line_has_everything_that_is_kept(client: Client, logs: RecentLogs) -> None:
    kept = len(logs.lines())

    async with (
        asyncio.timeout(10),
        client.streaming("GET", "/supervisor/logs/follow", headers={"Range": f"entries=:0:{kept}"}) as answer,
    ):
        text = await answer.text()

    assert text.splitlines() == [line.text for line in logs.lines()[:kept]]


async def test_log_in_memory_is_paged_back_and_read_by_time(client: Client, logs: RecentLogs) -> None:
    for number in range(250):
        logs.append(LATER + timedelta(seconds=number // 2), str(number))  # each time has two lines
    known = len(logs.lines())

    pages = [await client.get("/supervisor/logs?lines=100")]
    while pages[-1].text:
        cursor = pages[-1].headers["X-First-Cursor"]
        pages.append(await client.get("/supervisor/logs", headers={"Range": f"entries={cursor}:-100:100"}))
    text = "".join(page.text for page in reversed(pages))
    ten = int((LATER + timedelta(seconds=10)).timestamp())
    timed = await client.get("/supervisor/logs", headers={"Range": f"realtime={ten}000000:{ten + 2}:1000"})
    last = await client.get("/supervisor/logs", headers={"Range": "entries=:-0:"})

    assert text.splitlines()[:known] == [line.text for line in logs.lines()[:known]]
    assert timed.text.splitlines() == [str(number) for number in range(20, 26)]
    assert last.text == "249\n"


async def test_followed_log_in_memory_names_where_it_begins(client: Client, three_lines: RecentLogs) -> None:
    async with asyncio.timeout(10), client.streaming("GET", "/supervisor/logs/follow?lines=2") as answer:
        cursor = answer.headers["X-First-Cursor"]

    assert (await client.get("/supervisor/logs", headers={"Range": f"entries={cursor}:1:1"})).text == "three\n"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/supervisor/logs?lines=x", {}),
        ("/supervisor/logs", {"Range": "bytes=0-1"}),
        ("/supervisor/logs/follow", {"Range": "entries=s=12;i=3:-9:10"}),
        ("/supervisor/logs/latest", {"Accept": "application/json"}),
    ],
)
async def test_log_that_cannot_be_had_is_refused(client: Client, path: str, headers: dict[str, str]) -> None:
    assert (await client.get(path, headers=headers)).status == 400
