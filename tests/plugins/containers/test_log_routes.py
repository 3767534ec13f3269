"""The logs family of routes, on a container whose lines are in the system journal and on one that the engine keeps."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from attrs import frozen

from rooftree import PUBLIC, Kernel, Plugin, Routes
from rooftree.interfaces.containers import ContainerEngine, ContainerSpec
from rooftree.interfaces.journal import HOST_BOOTS, SYSTEM_JOURNAL, HostBoot
from rooftree.testing import Client, running_system
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin
from rooftree_containers.container_log import ContainerLog
from rooftree_containers.log_routes import log_routes
from rooftree_host.gateway import Gateway
from tests.plugins.host.journal import NINE, GatewayProcess, boot_id, entry, gateway, write, writer

BOOTS = 3
LINES = 5
WITHIN_S = 20

type Keeper = Literal["journal", "engine"]


def at(boot: int, seconds: float) -> int:
    """A time in microseconds since 1970."""
    return int((NINE + timedelta(days=boot, seconds=seconds)).timestamp() * 1_000_000)


def written(boot: int) -> list[str]:
    return [f"boot {boot} line {number}" for number in range(LINES)]


EVERYTHING = [line for boot in range(BOOTS) for line in written(boot)]


class BoxPlugin(Plugin):
    """A container with a log, and nothing else."""

    name = "box"

    async def setup(self, kernel: Kernel) -> None:
        """Remember the kernel, for the log."""
        self._kernel = kernel

    def routes(self) -> Routes:
        """The family, in one line."""

        def box_log(engine: ContainerEngine) -> ContainerLog:
            return ContainerLog(self._kernel, engine, "app_x", former_names=("addon_x",))

        return log_routes("/box/logs", box_log, access=PUBLIC)


class KnownBoots:
    """The boots of the test's host."""

    def known(self) -> Sequence[HostBoot]:
        """Three, a day each."""
        return [HostBoot(boot_id(number), NINE + timedelta(days=number)) for number in range(BOOTS)]


def host_plugin(url: str | None) -> type[Plugin]:
    class HostOfTheTest(Plugin):
        """What the host plugin provides, with boots that the test chose."""

        name = "host"
        provides = (HOST_BOOTS, *((SYSTEM_JOURNAL,) if url else ()))
        _journal: Gateway | None = None

        async def setup(self, kernel: Kernel) -> None:
            """Provide them."""
            kernel.provide(HOST_BOOTS, KnownBoots())
            if url:
                self._journal = Gateway(url)
                kernel.provide(SYSTEM_JOURNAL, self._journal)

        async def stop(self) -> None:
            """End what is read."""
            if self._journal is not None:
                await self._journal.close()

    return HostOfTheTest


@frozen
class House:
    """A running system with the container, and what keeps its lines."""

    client: Client
    engine: FakeContainerEngine
    journal: Path
    gateway: GatewayProcess

    async def lines(self, path: str = "", **headers: str) -> list[str]:
        """What a route of the family sends."""
        async with asyncio.timeout(WITHIN_S):
            answer = await self.client.get(f"/box/logs{path}", headers=headers)
        assert answer.status == 200, answer.text
        return answer.text.splitlines()

    async def page(self, path: str, range: str) -> tuple[list[str], str]:
        """What a route of the family sends, and the place of its first line."""
        answer = await self.client.get(f"/box/logs{path}", headers={"Range": range})
        assert answer.status == 200, answer.text
        return answer.text.splitlines(), answer.headers.get("X-First-Cursor", "")

    async def refusal(self, path: str = "", **headers: str) -> tuple[int, str]:
        """How a route of the family refuses."""
        answer = await self.client.get(f"/box/logs{path}", headers=headers)
        return answer.status, answer.text


@asynccontextmanager
async def house(folder: Path, keeper: Keeper) -> AsyncIterator[House]:
    engine, journal = FakeContainerEngine(), folder / "journal"
    engine.log_driver = "journald" if keeper == "journal" else "json-file"
    engine.load_image("hello")
    await engine.create(ContainerSpec(name="app_x", image="hello"))
    await asyncio.to_thread(journal.mkdir)
    with tempfile.TemporaryDirectory(prefix="rooftree-") as sockets, gateway(journal, Path(sockets)) as process:
        plugins = [BoxPlugin, host_plugin(process.url), FakeEnginePlugin.serving(engine)]
        async with running_system(folder, plugins=plugins) as system, Client.over_unix(system) as client:
            yield House(client, engine, journal, process)


def in_the_journal(house: House) -> None:
    """Three boots; in each the container was started twice, and the kernel wrote too."""
    for boot in range(BOOTS):
        entries = [
            entry(line.encode(), boot=boot, at=number, epoch=2 * boot + number // 3)
            for number, line in enumerate(written(boot))
        ]
        write(house.journal, *entries, entry(b"tick", name="kernel", boot=boot, at=LINES, epoch=None))


def in_the_engine(house: House) -> None:
    for boot in range(BOOTS):
        for number, line in enumerate(written(boot)):
            house.engine.write("app_x", line, at=NINE + timedelta(days=boot, seconds=number))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["journal", "engine"])
async def to_read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Fifteen lines in three boots, kept by one or the other, for all who only read: they see no difference."""
    async with house(tmp_path_factory.mktemp("logs"), request.param) as found:
        await asyncio.to_thread(in_the_journal if request.param == "journal" else in_the_engine, found)
        yield found


@pytest.fixture(params=["journal", "engine"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """The same for one test alone, which may change it."""
    async with house(tmp_path, request.param) as found:
        await asyncio.to_thread(in_the_journal if request.param == "journal" else in_the_engine, found)
        yield found


@pytest.fixture
async def in_journal(tmp_path: Path) -> AsyncIterator[House]:
    """The same, in the journal."""
    async with house(tmp_path, "journal") as found:
        await asyncio.to_thread(in_the_journal, found)
        yield found


@pytest.fixture
async def in_engine(tmp_path: Path) -> AsyncIterator[House]:
    """The same, in the engine's own log."""
    async with house(tmp_path, "engine") as found:
        in_the_engine(found)
        yield found


reads_only = pytest.mark.asyncio(loop_scope="module")
"""On the event loop of the house that is only read."""

# --- which lines --------------------------------------------------------------------------------------------------


@reads_only
@pytest.mark.parametrize(
    ("path", "range", "lines"),
    [
        ("", None, EVERYTHING),
        ("?lines=2", None, EVERYTHING[-2:]),
        ("?lines=1", None, EVERYTHING[-1:]),
        ("", "entries=:-3:2", EVERYTHING[-4:-2]),
        ("", "entries=:-1:", EVERYTHING[-2:]),
        ("", "entries=:3:2", EVERYTHING[3:5]),
        ("", "entries=", EVERYTHING),
        ("/boots/0", None, written(2)),
        ("/boots/-1", None, written(1)),
        ("/boots/-2", None, written(0)),
        ("/boots/1", None, written(0)),
        ("/boots/3", None, written(2)),
        (f"/boots/{boot_id(1)}", None, written(1)),
        (f"/boots/{boot_id(2).upper()}", None, written(2)),
        ("/boots/0?lines=2", None, written(2)[-2:]),
        ("/boots/-1?lines=2", None, written(1)[-2:]),
        ("/boots/-1?lines=99", None, written(1)),
        ("/boots/-1", "entries=:1:2", written(1)[1:3]),
        ("/boots/-1", "entries=:-2:2", written(1)[-3:-1]),
        ("", "entries=:-0:", EVERYTHING[-1:]),
        ("", "entries=:-0:9", EVERYTHING[-1:]),
        ("", f"realtime={at(1, 2)}:", EVERYTHING[7:]),
        ("", f"realtime={at(1, 1.5)}:", EVERYTHING[7:]),
        ("", f"realtime={at(1, 2)}::1:2", EVERYTHING[8:10]),
        ("", f"realtime={at(1, 2)}::-1:3", EVERYTHING[6:9]),
        ("", f"realtime={at(1, 2)}:{at(1, 3) // 1_000_000}:1000", EVERYTHING[7:9]),
        ("", f"realtime={at(1, 2)}:{at(1, 3.9)}:1", EVERYTHING[7:8]),
        ("", f"realtime=:{at(1, 2)}", EVERYTHING[:8]),
        ("", f"realtime=:{at(1, 2)}:-0:", EVERYTHING[7:8]),
        ("", f"realtime=:{at(1, 2.5)}:-2:2", EVERYTHING[5:7]),
        ("", f"realtime={at(9, 0)}:", []),
        ("", f"realtime=:{at(-1, 0)}", []),
        ("", "realtime=:", EVERYTHING),
        ("/boots/-1", f"realtime={at(0, 1)}:{at(1, 1)}", written(1)[:2]),
        ("/boots/-1", f"realtime={at(1, 3)}:", written(1)[3:]),
        ("/boots/-1", f"realtime=:{at(1, 3)}:-1:", written(1)[2:4]),
        ("/boots/0", f"realtime={at(0, 0)}:", written(2)),
    ],
)
async def test_lines_are_those_that_were_asked_for(
    to_read: House, path: str, range: str | None, lines: list[str]
) -> None:
    assert await to_read.lines(path, **({"Range": range} if range else {})) == lines


@reads_only
@pytest.mark.parametrize(
    ("path", "written_there"), [("", EVERYTHING), ("/boots/-1", written(1)), ("/boots/0", written(2))]
)
@pytest.mark.parametrize("size", [2, 4, 7])
async def test_log_is_paged_back_to_its_first_line_as_the_frontend_does_and_on_again(
    to_read: House, path: str, written_there: list[str], size: int
) -> None:
    lines, cursor = await to_read.page(path, f"entries=:-{size - 1}:")
    begins = [cursor]
    while True:
        page, cursor = await to_read.page(path, f"entries={cursor}:-{size}:{size}")
        if not page:
            break
        lines = page + lines
        begins.append(cursor)

    assert lines == written_there
    again = [await to_read.page(path, f"entries={begin}:0:{size}") for begin in reversed(begins)]
    assert again[-1][0] == written_there[-size:]
    assert [begin for _, begin in again] == begins[::-1]


@pytest.mark.parametrize("path", ["/follow", "/boots/0/follow"])
async def test_followed_log_names_where_it_begins(kept: House, path: str) -> None:
    await kept.engine.start("app_x")
    async with asyncio.timeout(WITHIN_S), kept.client.streaming("GET", f"/box/logs{path}?lines=2") as answer:
        cursor = answer.headers["X-First-Cursor"]

    assert await kept.lines(Range=f"entries={cursor}:-2:2") == EVERYTHING[-4:-2]


@pytest.mark.parametrize("path", ["/follow", "/boots/0/follow"])
async def test_followed_log_ends_with_its_time(kept: House, path: str) -> None:
    await kept.engine.start("app_x")
    headers = {"Range": f"realtime={at(2, 3)}:{at(2, 90)}:"}
    async with (
        asyncio.timeout(WITHIN_S),
        writer(kept.journal) as journal,
        kept.client.streaming("GET", f"/box/logs{path}", headers=headers) as answer,
    ):
        before = await answer.content.readline() + await answer.content.readline()
        for text, second in (("in time", 90), ("too late", 91)):
            kept.engine.write("app_x", text, at=NINE + timedelta(days=2, seconds=second))
            journal.write(entry(text.encode(), boot=2, at=second))
        rest = await answer.content.read()

    assert (before, rest) == (b"boot 2 line 3\nboot 2 line 4\n", b"in time\n")


@reads_only
async def test_times_that_are_none_are_refused(to_read: House) -> None:
    for header in ("realtime=1767225600", "realtime=yesterday:", "realtime=2:1"):
        status, text = await to_read.refusal(Range=header)

        assert (status, "The header Range" in text) == (400, True), text


@reads_only
async def test_boot_is_known_by_its_id_as_a_uuid_too(to_read: House) -> None:
    one = boot_id(1)

    assert (
        await to_read.lines(f"/boots/{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}?lines=1")
        == written(1)[-1:]
    )


@reads_only
@pytest.mark.parametrize(
    ("boot", "status", "sentence"),
    [
        ("f" * 32, 404, f"No boot {'f' * 32} of this host is known"),
        ("-3", 404, "There is no boot -3: known of this host is 0 (the current one) to -2"),
        ("4", 404, "There is no boot 4"),
        ("last", 404, "must be a boot's id (32 hex digits), or 0 for the current boot"),
        ("12ab", 404, "must be a boot's id (32 hex digits), or 0 for the current boot"),
    ],
)
async def test_boot_that_is_none_is_refused_with_those_that_are(
    to_read: House, boot: str, status: int, sentence: str
) -> None:
    answered, text = await to_read.refusal(f"/boots/{boot}")

    assert (answered, sentence in text) == (status, True), text


@pytest.mark.parametrize("boot", ["", "/boots/0"])
async def test_followed_log_goes_on_with_what_is_written(kept: House, boot: str) -> None:
    await kept.engine.start("app_x")
    async with (
        asyncio.timeout(WITHIN_S),
        writer(kept.journal) as journal,
        kept.client.streaming("GET", f"/box/logs{boot}/follow?lines=1") as answer,
    ):
        before = await answer.content.readline()
        kept.engine.write("app_x", "and now")
        journal.write(entry(b"and now", boot=2, at=99))
        after = await answer.content.readline()

    assert (before, after) == (b"boot 2 line 4\n", b"and now\n")


@reads_only
async def test_formats_name_time_and_author(to_read: House) -> None:
    (timed,) = await to_read.lines("?lines=1&format=timestamp")
    (verbose,) = await to_read.lines("?lines=1&format=verbose")
    (accepted,) = await to_read.lines("?lines=1", Accept="text/x-log")

    assert timed == "2026-02-02 09:00:04.000 boot 2 line 4"
    assert verbose.startswith("2026-02-02 09:00:04.000 ") and verbose.endswith(" app_x: boot 2 line 4")
    assert accepted == verbose


@reads_only
async def test_answer_is_text_that_no_proxy_holds_back(to_read: House) -> None:
    answer = await to_read.client.get("/box/logs")

    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["X-Accel-Buffering"] == "no"


# --- the last start ------------------------------------------------------------------------------------------------


async def test_latest_in_the_journal_is_what_the_last_run_of_the_container_wrote(in_journal: House) -> None:
    assert await in_journal.lines("/latest") == written(2)[3:]
    assert await in_journal.lines("/latest?lines=1") == written(2)[-1:]


async def test_latest_in_the_engine_begins_with_the_last_start(in_engine: House) -> None:
    await in_engine.engine.start("app_x")
    in_engine.engine.write("app_x", "\x1b[31mnew\x1b[0m")

    assert await in_engine.lines("/latest") == ["new"]


async def test_entries_of_an_engine_that_names_no_runs_are_told_apart_by_the_time_of_the_start(tmp_path: Path) -> None:
    async with house(tmp_path, "journal") as old:
        write(old.journal, entry(b"journal", CONTAINER_NAME="app_x", epoch=None))
        in_the_engine(old)
        await old.engine.start("app_x")
        old.engine.write("app_x", "new")

        assert await old.lines("/latest") == ["new"]


# --- what only the journal has --------------------------------------------------------------------------------------


async def test_first_cursor_leads_back_to_its_place(in_journal: House) -> None:
    cursor = (await in_journal.client.get("/box/logs?lines=3")).headers["X-First-Cursor"]

    assert await in_journal.lines(Range=f"entries={cursor}:0:2") == EVERYTHING[-3:-1]
    assert await in_journal.lines(Range=f"entries={cursor}:1:") == EVERYTHING[-2:]
    assert await in_journal.lines(Range=f"entries={cursor}:-2:2") == EVERYTHING[-5:-3]


async def test_cursor_that_is_none_is_refused(in_journal: House) -> None:
    status, text = await in_journal.refusal(Range="entries=s=12:0:2")

    assert (status, "a cursor must be one that a log's header X-First-Cursor named" in text) == (400, True)


async def test_cursor_is_refused_where_lines_have_none(in_engine: House) -> None:
    status, text = await in_engine.refusal(Range="entries=s=12:0:2")

    assert (status, "leave the cursor empty, as in entries=:-99:100" in text) == (400, True)


async def test_lines_of_a_container_that_had_an_older_name_belong_to_it(in_journal: House) -> None:
    write(in_journal.journal, entry(b"renamed", name="addon_x", boot=2, at=30), entry(b"no", name="addon_xy", boot=2))

    assert (await in_journal.lines())[-2:] == ["boot 2 line 4", "renamed"]


async def test_journal_tells_of_a_container_that_is_gone(in_journal: House) -> None:
    await in_journal.engine.remove("app_x")

    assert await in_journal.lines("?lines=1") == written(2)[-1:]


async def test_journal_tells_while_the_engine_is_away(in_journal: House) -> None:
    in_journal.engine.go_away()

    assert await in_journal.lines("?lines=1") == written(2)[-1:]
    assert await in_journal.lines("/boots/-1?lines=1") == written(1)[-1:]


# --- what is away ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["?lines=2", "/boots/0?lines=2"])
async def test_engine_tells_while_the_journal_is_away(in_journal: House, path: str) -> None:
    in_the_engine(in_journal)
    in_journal.gateway.close()

    assert await in_journal.lines(path) == EVERYTHING[-2:]


async def test_cursor_is_unavailable_while_the_journal_is_away(in_journal: House) -> None:
    cursor = (await in_journal.client.get("/box/logs")).headers["X-First-Cursor"]
    in_journal.gateway.close()

    status, text = await in_journal.refusal(Range=f"entries={cursor}:0:2")

    assert (status, "systemctl enable --now systemd-journal-gatewayd.socket" in text) == (503, True)


async def test_place_that_the_engine_named_leads_on_while_the_journal_is_away_and_when_it_is_back(
    in_journal: House,
) -> None:
    in_the_engine(in_journal)
    in_journal.gateway.kill()
    in_journal.gateway.path.rename(in_journal.gateway.path.with_suffix(".away"))
    _, cursor = await in_journal.page("", "entries=:-2:")

    away = await in_journal.lines(Range=f"entries={cursor}:-2:2")
    in_journal.gateway.path.with_suffix(".away").rename(in_journal.gateway.path)
    in_journal.gateway.start()
    back = await in_journal.lines(Range=f"entries={cursor}:-2:2")

    assert away == back == EVERYTHING[-5:-3]


async def test_gateway_that_is_killed_ends_a_followed_log_which_says_so(in_journal: House) -> None:
    async with (
        asyncio.timeout(WITHIN_S),
        in_journal.client.streaming("GET", "/box/logs/follow?lines=1") as answer,
    ):
        first = await answer.content.readline()
        in_journal.gateway.kill()
        rest = await answer.content.read()

    assert first == b"boot 2 line 4\n"
    assert rest == b"[the system journal's gateway went away: follow the log again]\n"


@pytest.mark.parametrize("path", ["", "/latest", "/boots/0", "/follow"])
async def test_log_of_no_container_is_not_found(in_engine: House, path: str) -> None:
    await in_engine.engine.remove("app_x")

    status, text = await in_engine.refusal(path)

    assert (status, "no container app_x" in text) == (404, True)


@pytest.mark.parametrize("path", ["", "/latest", "/boots/0", "/boots/-1?lines=3"])
async def test_log_is_unavailable_while_nothing_that_has_it_answers(in_engine: House, path: str) -> None:
    in_engine.engine.go_away()
    in_engine.gateway.close()

    status, text = await in_engine.refusal(path)

    assert (status, "The container engine does not answer" in text) == (503, True)
