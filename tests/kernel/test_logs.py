"""Logging: one line a fact for people or programs, secrets masked, the latest lines kept for those who ask."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from rooftree.daemon.logs import configure, redact_text
from rooftree.process.recent_logs import LONGEST_LINE_BYTES, RecentLine, RecentLogs, set_level

NOW = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog.contextvars.clear_contextvars()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log() -> Any:
    return structlog.get_logger("rooftree.jobs")


# --- rendering


def test_text_line_has_time_level_logger_event_and_what_was_given(stream: io.StringIO, log: Any) -> None:
    configure("info", "text", stream=stream)

    log.info("job_started", slug="local_x", path=Path("/a b"), n=3)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} info     rooftree\.jobs: job_started slug=local_x path='/a b' n=3\n",
        stream.getvalue(),
    )


def test_json_line_is_one_object_whatever_was_given(stream: io.StringIO, log: Any) -> None:
    configure("info", "json", stream=stream)

    log.info("x", path=Path("/p"), number=float("inf"), odd=object, mapping={1: {2}}, text="ä\ud800\n", when=NOW)

    line = json.loads(stream.getvalue(), parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    assert (line["path"], line["mapping"], line["number"]) == ("/p", {"1": [2]}, "inf")
    assert line["when"] == str(NOW)


def test_records_of_the_standard_library_take_the_same_way(stream: io.StringIO) -> None:
    configure("info", "json", stream=stream)
    structlog.contextvars.bind_contextvars(plugin="store")

    logging.getLogger("aiodocker").warning("Lost %s", "connection")

    line = json.loads(stream.getvalue())
    assert (line["logger"], line["event"], line["level"], line["plugin"]) == (
        "aiodocker",
        "Lost connection",
        "warning",
        "store",
    )


def test_context_is_on_every_line_of_its_task(stream: io.StringIO, log: Any) -> None:
    configure("info", "text", stream=stream)

    with structlog.contextvars.bound_contextvars(job="ab12"):
        log.info("inside")
    log.info("outside")

    inside, outside = stream.getvalue().splitlines()
    assert inside.endswith("inside job=ab12")
    assert outside.endswith("outside")


def test_colours_are_for_terminals_only(log: Any) -> None:
    terminal, pipe = Terminal(), io.StringIO()

    recent = configure("info", "text", stream=terminal)
    log.error("red")
    configure("info", "text", stream=pipe)
    log.error("plain")

    assert "\x1b[31m" in terminal.getvalue()
    assert "\x1b" not in pipe.getvalue()
    assert "\x1b" not in recent.lines()[0].text


def test_what_is_logged_can_not_forge_lines_or_drive_the_terminal(stream: io.StringIO, log: Any) -> None:
    recent = configure("info", "text", stream=stream)

    log.info("a\nb", value="x\n2026 fake", **{"k\x9b": "\x1b[2J"})
    logging.getLogger("x").warning("c\r\nd\u2028")

    assert stream.getvalue().count("\n") == 2
    assert all(line.text.isprintable() for line in recent.lines())
    assert len(recent.lines()) == 2


def test_traceback_stands_below_without_the_values_of_variables(stream: io.StringIO, log: Any) -> None:
    configure("info", "text", stream=stream)
    hidden = "hunter2"

    try:
        raise ValueError("no" + hidden[:0])
    except ValueError:
        log.exception("failed")

    first, *below = stream.getvalue().splitlines()
    assert first.endswith("failed")
    assert below[0] == "    Traceback (most recent call last):"
    assert below[-1] == "    ValueError: no"
    assert all(line.startswith("    ") for line in below)
    assert '"hunter2"' not in stream.getvalue()


def test_broken_repr_does_not_cost_the_line(stream: io.StringIO, log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own handler can't stand a broken repr

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    configure("info", "text", stream=stream)

    log.info("x", thing=Broken(), other=1)

    assert "its repr failed with RuntimeError" in stream.getvalue()
    assert "other=1" in stream.getvalue()


# --- masking


def test_values_under_secret_names_are_masked_at_any_depth(stream: io.StringIO, log: Any) -> None:
    configure("info", "json", stream=stream)

    log.info(
        "x",
        token="s3cret",
        Authorization="Bearer s3cret",
        token_id="abc",
        password=5317,
        secret=None,
        request={"headers": [{"X-Api-Token": "s3cret"}]},
        config=[{"client_secret": ["s3cret"]}],
    )

    assert "s3cret" not in stream.getvalue()
    line = json.loads(stream.getvalue())
    assert (line["password"], line["token_id"], line["secret"]) == ("***", "abc", None)
    assert line["request"] == {"headers": [{"X-Api-Token": "***"}]}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("clone https://user:s3cret@git.example/x", "clone https://***@git.example/x"),
        ("clone https://s3cret@git.example/x", "clone https://***@git.example/x"),
        ("ssh://git@git.example/x", "ssh://git@git.example/x"),
        ("GET /x?access_token=s3cret&page=2 HTTP/1.1", "GET /x?access_token=***&page=2 HTTP/1.1"),
        ("Authorization: Bearer s3cret-s3cret", "Authorization: ***"),
        ("sent Bearer abcdefghijklmnop on", "sent Bearer *** on"),
        ('{"password": "s3 cret", "a": 1}', '{"password": "***", "a": 1}'),
        ("{'registry_password': 's3cret'}", "{'registry_password': '***'}"),
        ("password='s3 cret' user=x", "password='***' user=x"),
        ("wrong password: try again", "wrong password: try again"),
        ("token_id=12 tokens revoked", "token_id=12 tokens revoked"),
        ("time 09:00:00, mail a@b.example", "time 09:00:00, mail a@b.example"),
    ],
)
def test_credentials_inside_texts_are_masked(text: str, masked: str) -> None:
    assert redact_text(text) == masked


def test_secrets_in_tracebacks_and_foreign_records_are_masked(stream: io.StringIO) -> None:
    recent = configure("info", "text", stream=stream)

    try:
        raise OSError("no answer from https://user:s3cret@git.example")
    except OSError:
        logging.getLogger("x").exception("password=%s", "s3cret")

    assert "s3cret" not in stream.getvalue()
    assert "s3cret" not in "".join(line.text for line in recent.lines())
    assert "https://***@git.example" in stream.getvalue()


@pytest.mark.timeout(20)
def test_masking_a_huge_text_takes_no_time_worth_mentioning() -> None:
    for text in (
        "a" * 1_000_000 + "=",
        "://" + "x" * 1_000_000,
        "://" * 20_000,
        "token=" * 50_000,
        "a-" * 500_000 + ":",
    ):
        redact_text(text + " @ : =")


# --- level


def test_level_can_be_changed_while_running(stream: io.StringIO, log: Any) -> None:
    configure("warning", "text", stream=stream)

    log.info("one")
    set_level("debug")
    log.debug("two")
    set_level("error")
    log.warning("three")

    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["two"]


def test_chatty_libraries_are_heard_at_level_debug_only(stream: io.StringIO) -> None:
    configure("info", "text", stream=stream)
    library = logging.getLogger("apscheduler.executors.default")

    library.info("one")
    set_level("debug")
    library.info("two")
    set_level("info")
    library.info("three")
    library.warning("four")

    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["two", "four"]


def test_setting_up_again_replaces_the_earlier_set_up(stream: io.StringIO, log: Any) -> None:
    earlier = io.StringIO()
    configure("info", "text", stream=earlier)
    configure("info", "text", stream=stream)

    log.info("once")

    assert earlier.getvalue() == ""
    assert stream.getvalue().count("once") == 1


# --- the latest lines


def test_recent_lines_are_text_with_their_time_also_when_json_is_written(stream: io.StringIO, log: Any) -> None:
    recent = configure("info", "json", stream=stream)

    log.info("x", a=1)

    (line,) = recent.lines()
    assert line.text.endswith("rooftree.jobs: x a=1")
    assert line.time.isoformat(timespec="milliseconds") == json.loads(stream.getvalue())["timestamp"]


def test_recent_lines_are_bounded_in_number() -> None:
    recent = RecentLogs(max_lines=3)

    for number in range(5):
        recent.append(NOW, str(number))

    assert [line.text for line in recent.lines()] == ["2", "3", "4"]
    assert [line.text for line in recent.lines(2)] == ["3", "4"]
    assert recent.lines(0) == []


def test_recent_lines_are_bounded_in_bytes_and_one_line_can_not_push_out_all_others() -> None:
    recent = RecentLogs(max_bytes=4 * LONGEST_LINE_BYTES)

    recent.append(NOW, "first")
    recent.append(NOW, "ä" * 10_000_000)
    first, long = recent.lines()
    for _ in range(1000):
        recent.append(NOW, "x" * 1000)

    assert first.text == "first"
    assert long.text.endswith("… [cut, 20000000 bytes]")
    assert len(long.text.encode()) < LONGEST_LINE_BYTES + 100
    total = sum(len(line.text) + 1 for line in recent.lines())
    assert 3 * LONGEST_LINE_BYTES < total <= 4 * LONGEST_LINE_BYTES


def test_each_line_of_a_traceback_is_a_line() -> None:
    recent = RecentLogs()

    recent.append(NOW, "a\n  b")

    assert recent.lines() == [RecentLine(NOW, "a"), RecentLine(NOW, "  b")]


async def test_follower_gets_the_last_lines_and_then_new_ones_from_any_thread() -> None:
    recent = RecentLogs()
    for text in ("0", "1", "2"):
        recent.append(NOW, text)
    seen = []

    async with aclosing(recent.follow(last=2)) as lines:
        async for line in lines:
            seen.append(line.text)
            if len(seen) == 2:
                await asyncio.to_thread(recent.append, NOW, "3")
            if len(seen) == 3:
                threading.Timer(0.01, recent.append, (NOW, "4\n5")).start()
            if len(seen) == 5:
                break

    assert seen == ["1", "2", "3", "4", "5"]


async def test_waiting_follower_wakes_for_a_line_and_for_its_cancellation() -> None:
    recent = RecentLogs()
    follower = recent.follow()
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)

    recent.append(NOW, "x")
    assert (await waiting).text == "x"

    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    recent.append(NOW, "nobody waits")
    assert recent._waiting == set()


async def test_slow_reader_is_dropped_with_a_note_and_delays_nobody() -> None:
    recent = RecentLogs(max_lines=10)
    recent.append(NOW, "0")
    slow = recent.follow(last=1)
    assert (await anext(slow)).text == "0"

    for number in range(1, 16):
        recent.append(NOW, str(number))

    rest = [line.text async for line in slow]
    assert rest == ["[this reader was too slow: 5 lines were dropped before it; follow the log again]"]
    assert len(recent.lines()) == 10


async def test_reader_that_keeps_up_sees_every_line_however_many() -> None:
    recent = RecentLogs(max_lines=10)
    reader = recent.follow()
    seen = []
    next_line = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    for number in range(100):
        recent.append(NOW, str(number))
        seen.append((await next_line).text)
        next_line = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
    next_line.cancel()

    assert seen == [str(number) for number in range(100)]


def test_logging_goes_on_after_the_loop_of_a_follower_is_gone() -> None:
    recent = RecentLogs()

    async def give_up() -> Any:
        follower = recent.follow()
        waiting = asyncio.ensure_future(anext(follower))
        await asyncio.sleep(0)
        wakers = set(recent._waiting)
        waiting.cancel()
        return wakers

    recent._waiting |= asyncio.run(give_up())

    recent.append(NOW, "x")

    assert [line.text for line in recent.lines()] == ["x"]
