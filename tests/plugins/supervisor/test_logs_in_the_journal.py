"""Our own log where systemd keeps what we write: it is read from the system journal, with boots and cursors."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import frozen

from rooftree.process import RecentLogs
from rooftree.testing import Client, running_system
from rooftree_host.plugin import HostPlugin
from rooftree_supervisor.own_log import writes_to_journal
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.plugins.host.journal import GatewayProcess, boot_id, entry, gateway, write, writer

WITHIN_S = 20


@frozen
class House:
    """A running system whose own lines are in the journal."""

    client: Client
    journal: Path
    gateway: GatewayProcess


@pytest.fixture
async def house(tmp_path: Path, logs: RecentLogs, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Two boots of ours, and what somebody else wrote. The lines in memory are others, to be told apart."""
    error = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{error.st_dev}:{error.st_ino}")
    journal = tmp_path / "journal"
    for boot in range(2):
        lines = [entry(b"boot %d line %d" % (boot, at), name="rooftree", boot=boot, at=at, epoch=None) for at in (0, 1)]
        write(journal, *lines, entry(b"tick", name="kernel", boot=boot, at=2, epoch=None))
    with tempfile.TemporaryDirectory(prefix="rooftree-") as sockets, gateway(journal, Path(sockets)) as process:
        async with (
            running_system(
                tmp_path,
                plugins=[SupervisorPlugin, HostPlugin],
                logs=logs,
                settings={"plugins.host.journal": process.url},
            ) as system,
            Client.over_unix(system) as client,
        ):
            logs.append(datetime(2026, 1, 31, 9, tzinfo=UTC), "from memory")
            yield House(client, journal, process)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "boot 0 line 0\nboot 0 line 1\nboot 1 line 0\nboot 1 line 1\n"),
        ("?lines=1&format=verbose", "2026-02-01 09:00:01.000 homebox rooftree: boot 1 line 1\n"),
        ("/boots/0", "boot 1 line 0\nboot 1 line 1\n"),
        ("/boots/-1?lines=1", "boot 0 line 1\n"),
        (f"/boots/{boot_id(0)}?lines=1", "boot 0 line 1\n"),
        ("/latest?lines=1", "from memory\n"),
    ],
)
async def test_lines_come_from_the_journal_and_those_since_the_start_from_memory(
    house: House, path: str, text: str
) -> None:
    assert (await house.client.get(f"/supervisor/logs{path}")).text == text


async def test_cursor_leads_back_to_its_place(house: House) -> None:
    cursor = (await house.client.get("/supervisor/logs?lines=2")).headers["X-First-Cursor"]

    answer = await house.client.get("/supervisor/logs", headers={"Range": f"entries={cursor}:1:1"})

    assert answer.text == "boot 1 line 1\n"


async def test_followed_log_goes_on_with_what_systemd_keeps(house: House) -> None:
    async with (
        asyncio.timeout(WITHIN_S),
        writer(house.journal) as journal,
        house.client.streaming("GET", "/supervisor/logs/boots/0/follow?lines=1") as answer,
    ):
        before = await answer.content.readline()
        journal.write(entry(b"and now", name="rooftree", boot=1, at=9, epoch=None))
        after = await answer.content.readline()

    assert (before, after) == (b"boot 1 line 1\n", b"and now\n")


@pytest.mark.parametrize("path", ["?lines=1", "/boots/0?lines=1"])
async def test_memory_tells_while_the_journal_is_away(house: House, path: str) -> None:
    house.gateway.close()

    assert (await house.client.get(f"/supervisor/logs{path}")).text == "from memory\n"


async def test_boots_without_a_journal_are_this_one(
    tmp_path: Path, logs: RecentLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    plugins = [SupervisorPlugin, HostPlugin]
    settings = {"plugins.host.journal": f"unix://{tmp_path / 'absent.sock'}"}
    async with (
        running_system(tmp_path, plugins=plugins, logs=logs, settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        logs.append(datetime.now(UTC), "from memory")

        current = await client.get("/supervisor/logs/boots/0?lines=1")
        earlier = await client.get("/supervisor/logs/boots/-1")
        cursor = await client.get("/supervisor/logs", headers={"Range": "entries=s=1:0:1"})

    assert current.text == "from memory\n"
    assert (earlier.status, "known of this host is only 0, the current one" in earlier.text) == (404, True)
    assert (cursor.status, "leave the cursor empty" in cursor.text) == (400, True)


@pytest.mark.parametrize("stream", ["", "nonsense", "1:2", "1"])
def test_error_stream_that_is_no_line_to_the_journal_is_none(stream: str) -> None:
    assert not writes_to_journal({"JOURNAL_STREAM": stream})
    assert not writes_to_journal({})


def test_error_stream_that_systemd_names_is_a_line_to_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    error = os.fstat(2)

    assert writes_to_journal({"JOURNAL_STREAM": f"{error.st_dev}:{error.st_ino}"})
    assert not writes_to_journal({"JOURNAL_STREAM": f"{error.st_dev}:{error.st_ino + 1}"})
