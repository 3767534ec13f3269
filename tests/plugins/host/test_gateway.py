"""The system journal, read from a real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rooftree import Invalid
from rooftree.interfaces.journal import JournalQuery, JournalRange, JournalText, JournalUnavailable
from rooftree_host import gateway
from rooftree_host.gateway import Gateway
from tests.plugins.host.journal import GatewayProcess, boot_id, entry, write, writer

APP = JournalQuery(containers=("app_x",))
WITHIN_S = 20


@pytest.fixture
async def journal(served: GatewayProcess) -> AsyncIterator[Gateway]:
    """What is under test."""
    found = Gateway(served.url)
    yield found
    await found.close()


@pytest.fixture
def three_boots(tmp_path: Path) -> None:
    """Ten lines of an add-on in each of three boots, with the kernel's between."""
    for boot in range(3):
        write(
            tmp_path / "journal",
            *(
                line
                for number in range(10)
                for line in (
                    entry(b"boot %d line %d" % (boot, number), boot=boot, at=number, epoch=boot * 2 + number // 5),
                    entry(b"tick", name="kernel", boot=boot, at=number + 0.5, epoch=None),
                )
            ),
        )


async def text_of(text: JournalText) -> str:
    async with asyncio.timeout(WITHIN_S):
        return b"".join([chunk async for chunk in text.chunks]).decode()


async def lines(journal: Gateway, query: JournalQuery, **options: Any) -> list[str]:
    return (await text_of(await journal.text(query, **options))).splitlines()


def query(range: JournalRange | None = None, **asked: Any) -> JournalQuery:
    return JournalQuery(range=range or JournalRange(), **asked)


@pytest.mark.usefixtures("three_boots")
async def test_names_boots_and_epochs_choose_entries(journal: Gateway) -> None:
    whole = await lines(journal, APP)
    boot = await lines(journal, query(containers=("app_x",), boot_id=boot_id(1)))
    epoch = await lines(journal, query(containers=("app_x",), epoch=f"{5:064x}"))
    any_of_two = await lines(journal, query(identifiers=("app_x", "kernel"), boot_id=boot_id(2)))

    assert len(whole) == 30
    assert boot == [f"boot 1 line {number}" for number in range(10)]
    assert epoch == [f"boot 2 line {number}" for number in range(5, 10)]
    assert len(any_of_two) == 20 and any_of_two[:2] == ["boot 2 line 0", "tick"]


@pytest.mark.usefixtures("three_boots")
async def test_range_counts_from_the_ends_and_from_a_cursor(journal: Gateway) -> None:
    boot = {"containers": ("app_x",), "boot_id": boot_id(2)}
    tail = await journal.text(query(JournalRange(skip=-2, count=2), **boot))
    assert tail.first_cursor is not None
    cursor = tail.first_cursor

    assert await text_of(tail) == "boot 2 line 7\nboot 2 line 8\n"
    assert await lines(journal, query(JournalRange(count=2), **boot)) == ["boot 2 line 0", "boot 2 line 1"]
    assert await lines(journal, query(JournalRange(cursor=cursor, skip=1), **boot)) == [
        "boot 2 line 8",
        "boot 2 line 9",
    ]
    assert await lines(journal, query(JournalRange(cursor=cursor, skip=-1, count=1), **boot)) == ["boot 2 line 6"]


@pytest.mark.usefixtures("three_boots")
async def test_last_entry_has_all_fields(journal: Gateway) -> None:
    last = await journal.last(APP)

    assert last is not None
    assert (last.text("MESSAGE"), last.text("_BOOT_ID")) == ("boot 2 line 9", boot_id(2))
    assert (last.text("CONTAINER_LOG_EPOCH"), last.text("NONE")) == (f"{5:064x}", None)
    assert await journal.last(query(containers=("app_none",))) is None
    assert await lines(journal, query(JournalRange(cursor=last.cursor), containers=("app_x",))) == ["boot 2 line 9"]


@pytest.mark.usefixtures("three_boots")
async def test_boots_are_in_the_order_in_which_they_were(journal: Gateway) -> None:
    assert await journal.boots() == [boot_id(0), boot_id(1), boot_id(2)]


@pytest.mark.usefixtures("three_boots")
async def test_identifiers_are_listed(journal: Gateway) -> None:
    assert await journal.identifiers() == ["app_x", "kernel"]


async def test_journal_of_nothing_is_empty(journal: Gateway) -> None:
    assert await lines(journal, APP) == []
    assert (await journal.boots(), await journal.identifiers()) == ([], [])


async def test_colours_and_lines_within_a_message_and_bytes_that_are_no_text(journal: Gateway, tmp_path: Path) -> None:
    write(tmp_path / "journal", entry(b"\x1b[31mred\x1b[0m"), entry(b"one\ntwo"), entry(b"caf\xc3\xa9 \xff"))

    assert await lines(journal, APP) == ["\x1b[31mred\x1b[0m", "one", "two", "café \ufffd"]
    assert await lines(journal, APP, colors=False) == ["red", "one", "two", "café \ufffd"]
    assert (await lines(journal, APP, format="verbose"))[
        0
    ] == "2026-01-31 09:00:00.000 homebox app_x: \x1b[31mred\x1b[0m"


async def read_lines(text: JournalText, count: int) -> list[str]:
    """The next lines, which come in any pieces."""
    found = b""
    while found.count(b"\n") < count:
        found += await anext(text.chunks)
    return found.decode().splitlines()


async def test_followed_text_goes_on_with_what_is_written(
    journal: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "FIRST_LINE_S", WITHIN_S)  # however busy this machine is, the first entry is there
    write(tmp_path / "journal", entry(b"one"), entry(b"two"))

    text = await journal.text(query(JournalRange(skip=-1), containers=("app_x",), follow=True))
    async with asyncio.timeout(WITHIN_S), writer(tmp_path / "journal") as written:
        before = await read_lines(text, 2)
        written.write(entry(b"three", at=1))
        after = await read_lines(text, 1)
        await text.chunks.aclose()  # type: ignore[attr-defined]  # a text's chunks can be closed

    assert text.first_cursor is not None
    assert (before, after) == (["one", "two"], ["three"])


async def test_followed_text_of_nothing_begins_at_once_and_waits(journal: Gateway, tmp_path: Path) -> None:
    async with asyncio.timeout(WITHIN_S), writer(tmp_path / "journal") as written:
        text = await journal.text(query(containers=("app_x",), follow=True))
        written.write(entry(b"first"))
        first = await anext(text.chunks)
        await text.chunks.aclose()  # type: ignore[attr-defined]  # a text's chunks can be closed

    assert (text.first_cursor, first) == (None, b"first\n")


async def test_gateway_that_dies_ends_a_followed_text_which_says_so(
    journal: Gateway, served: GatewayProcess, tmp_path: Path
) -> None:
    write(tmp_path / "journal", entry(b"one"))
    text = await journal.text(query(containers=("app_x",), follow=True))
    first = await anext(text.chunks)

    served.kill()
    rest = await text_of(text)
    served.start()
    again = await lines(journal, APP)

    assert first == b"one\n"
    assert rest == "[the system journal's gateway went away: follow the log again]\n"
    assert again == ["one"]


async def test_reader_that_hangs_up_and_a_journal_that_is_closed_leave_nothing_open(
    journal: Gateway, tmp_path: Path
) -> None:
    write(tmp_path / "journal", entry(b"one"))
    for _ in range(3):
        text = await journal.text(query(containers=("app_x",), follow=True))
        await text.chunks.aclose()  # type: ignore[attr-defined]  # a text's chunks can be closed
    assert journal._open == set()

    waiting = await journal.text(query(containers=("app_x",), follow=True))
    await anext(waiting.chunks)
    rest = asyncio.create_task(text_of(waiting))
    await asyncio.sleep(0)
    await journal.close()

    assert "went away" in await rest
    assert journal._open == set()


async def test_cursor_that_is_none_is_refused(journal: Gateway) -> None:
    with pytest.raises(Invalid, match="X-First-Cursor"):
        await journal.text(query(JournalRange(cursor="s=12;i=3"), containers=("app_x",)))


@pytest.mark.parametrize(
    "ask", [lambda j: j.text(APP), lambda j: j.last(APP), lambda j: j.boots(), lambda j: j.identifiers()]
)
async def test_absent_journal_is_unavailable_and_says_what_to_do(tmp_path: Path, ask: Any) -> None:
    journal = Gateway(f"unix://{tmp_path / 'absent.sock'}")

    with pytest.raises(JournalUnavailable, match=r"systemctl enable --now systemd-journal-gatewayd\.socket"):
        await ask(journal)
    await journal.close()


def test_address_of_another_kind_is_refused() -> None:
    with pytest.raises(Invalid, match=r"such as unix:///run/systemd-journal-gatewayd\.sock"):
        Gateway("/run/journal.sock")
