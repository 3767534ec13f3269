"""A journal gateway that sends garbage, says nothing for too long, or breaks off: said, and nothing is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rooftree import RooftreeError
from rooftree.interfaces.journal import JournalQuery, JournalUnavailable
from rooftree_host import gateway
from rooftree_host.gateway import Gateway

ALL = JournalQuery()

type Answers = Callable[[bytes], bytes | None]


@asynccontextmanager
async def answering(folder: Path, answers: Answers) -> AsyncIterator[Gateway]:
    """A gateway on a socket that answers each request's head with these bytes and closes; ``None`` is silence."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = answers(await reader.readuntil(b"\r\n\r\n"))
        if answer is None or not answer:
            await over.wait()
        else:
            writer.write(answer)
            if answer.endswith(STALL):
                await over.wait()
        writer.close()

    async with await asyncio.start_unix_server(serve, folder / "journal.sock"):
        journal = Gateway(f"unix://{folder / 'journal.sock'}")
        try:
            yield journal
        finally:
            over.set()
            await journal.close()


STALL = b"_HOSTNAME=homebox\n"
"""Where an answer ends so, nothing more comes, and the line stays open."""


def ok(body: bytes, length: int | None = None) -> bytes:
    """An answer; ``length`` is what its head says."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body) if length is None else length, body)


async def read(journal: Gateway, **asked: Any) -> bytes:
    text = await journal.text(ALL, **asked)
    try:
        return b"".join([chunk async for chunk in text.chunks])
    finally:
        await text.chunks.aclose()  # type: ignore[attr-defined]  # a text's chunks can be closed


@pytest.mark.parametrize(
    ("answer", "ask", "reason"),
    [
        (ok(b"{garbage\n"), lambda journal: journal.identifiers(), "is no JSON"),
        (b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"SYSL', lambda journal: journal.identifiers(), "is no JSON"),
        (ok(b'{"SYSL', length=400), lambda journal: journal.identifiers(), "does not answer"),
        (b"\xff\xfe\0\r\n\r\n", lambda journal: journal.identifiers(), "does not answer"),
        (b"HTTP/1.1 599 No\r\nContent-Length: 0\r\n\r\n", lambda journal: journal.text(ALL), "answered 599"),
        (ok(b"\0" * 30), read, "no journal export format"),
        (ok(b"__REALTIME_TIMESTAMP=soon\nMESSAGE=x\n\n"), lambda journal: read(journal, format="time"), "no journal"),
        (
            ok(b"__REALTIME_TIMESTAMP=%b\nMESSAGE=x\n\n" % (b"9" * 5000)),
            lambda journal: read(journal, format="time"),
            "no j",
        ),
        (
            ok(b"__REALTIME_TIMESTAMP=%d\nMESSAGE=x\n\n" % 2**64),
            lambda journal: read(journal, format="verbose"),
            "no j",
        ),
    ],
)
async def test_garbage_is_said_to_be_the_gateways(
    socket_folder: Path, answer: bytes, ask: Callable[[Gateway], Awaitable[object]], reason: str
) -> None:
    async with answering(socket_folder, lambda _: answer) as journal:
        with pytest.raises(RooftreeError, match=reason):
            await ask(journal)

        assert journal._open == set()


async def test_boot_whose_first_entry_has_no_time_is_said_to_be_the_gateways(socket_folder: Path) -> None:
    def answers(head: bytes) -> bytes:
        return ok(b'{"_BOOT_ID":"aa"}\n') if b"/fields/" in head else ok(b"__CURSOR=x\nMESSAGE=hi\n\n")

    async with answering(socket_folder, answers) as journal:
        with pytest.raises(RooftreeError, match="no journal export format"):
            await journal.boots()


async def test_values_that_are_no_text_are_left_out(socket_folder: Path) -> None:
    said = b'{"SYSLOG_IDENTIFIER":"kernel"}\n{"SYSLOG_IDENTIFIER":[99,97,102,233]}\n[3]\n{}\n'
    async with answering(socket_folder, lambda _: ok(said)) as journal:
        assert await journal.identifiers() == ["kernel"]


async def test_boots_that_the_journal_has_forgotten_are_listed_no_more(socket_folder: Path) -> None:
    boots = [b"aa", b"bb"]

    def answers(head: bytes) -> bytes:
        if b"/fields/" in head:
            return ok(b"".join(b'{"_BOOT_ID":"%b"}\n' % boot for boot in boots))
        return ok(b"__REALTIME_TIMESTAMP=%d\n\n" % (1 if b"_BOOT_ID=aa" in head else 2))

    async with answering(socket_folder, answers) as journal:
        before = await journal.boots()
        boots.remove(b"aa")

        assert (before, await journal.boots()) == (["aa", "bb"], ["bb"])


@pytest.mark.parametrize(("limit", "answer"), [("ANSWER_S", None), ("STALL_S", ok(b"__CURSOR=x\n" + STALL, length=99))])
async def test_gateway_that_says_nothing_for_too_long_is_given_up(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, answer: bytes | None
) -> None:
    monkeypatch.setattr(gateway, limit, 0.2)
    async with answering(socket_folder, lambda _: answer) as journal, asyncio.timeout(10):
        with pytest.raises(JournalUnavailable, match="did not answer in time"):
            await read(journal)
        with pytest.raises(JournalUnavailable, match="did not answer in time"):
            await journal.last(ALL)

        assert journal._open == set()
