"""Logs of real containers."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from rooftree import Stream
from rooftree.interfaces.containers import ContainerNotFound, ContainerSpec, LogLine
from rooftree_containers import kept_log
from rooftree_containers.kept_log import KeptLog
from rooftree_containers.log_query import asked_query
from rooftree_containers.logs import LogSource
from rooftree_docker.engine import DockerEngine
from tests.e2e.docker.conftest import Events, watching
from tests.rig.engine import Engine

pytestmark = pytest.mark.docker

CLIENTS = 8

type MakeSpec = Callable[..., ContainerSpec]


async def run(driver: DockerEngine, spec: ContainerSpec) -> None:
    """Run a container to its end."""
    await driver.create(spec)
    await driver.start(spec.name)
    async for _ in driver.logs(spec.name, follow=True):
        pass


async def test_lines_carry_time_and_stream(driver: DockerEngine, spec: MakeSpec) -> None:
    begun = datetime.now(UTC)
    await run(driver, spec("echo one; echo two >&2; printf three"))

    lines = {line.text: line async for line in driver.logs("app_test")}

    assert set(lines) == {b"one", b"two", b"three"}
    assert lines[b"two"].stream == "stderr" and lines[b"one"].stream == "stdout"
    assert all(begun - timedelta(seconds=5) < line.time < datetime.now(UTC) for line in lines.values())


async def test_tail_and_since_choose_lines(driver: DockerEngine, spec: MakeSpec) -> None:
    await run(driver, spec("for n in 1 2 3; do echo $n; done; sleep 0.4; echo 4"))
    everything = [line async for line in driver.logs("app_test")]

    tail = [line.text async for line in driver.logs("app_test", tail=2)]
    nothing = [line.text async for line in driver.logs("app_test", tail=0)]
    since = [line.text async for line in driver.logs("app_test", since=everything[2].time + timedelta(seconds=0.2))]

    assert [line.text for line in everything] == [b"1", b"2", b"3", b"4"]
    assert (tail, nothing, since) == ([b"3", b"4"], [], [b"4"])


async def test_following_hands_on_each_line_as_it_comes_and_ends_with_the_container(
    driver: DockerEngine, spec: MakeSpec
) -> None:
    await driver.create(spec("echo ready; while read line; do echo got $line; done", stdin=True))
    await driver.start("app_test")

    async with asyncio.timeout(15), aclosing(driver.logs("app_test", follow=True)) as lines:
        first = await anext(lines)
        await driver.write_stdin("app_test", b"hello\n")
        second = await anext(lines)
        await driver.stop("app_test", 1)
        rest = [line async for line in lines]

    assert (first.text, second.text, rest) == (b"ready", b"got hello", [])


async def test_line_of_five_megabytes_passes_in_pieces_with_little_memory(driver: DockerEngine, spec: MakeSpec) -> None:
    await run(driver, spec("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end"))
    size, pieces, last = 0, 0, b""

    tracemalloc.start()
    async for line in driver.logs("app_test"):
        size, pieces, last = size + len(line.text), pieces + 1, line.text
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size == 5_000_000 + len(b"end")
    assert pieces < 50 and last == b"end"
    assert peak_bytes < 3_000_000


async def test_reader_that_is_slow_holds_the_engine_back_instead_of_filling_memory(
    driver: DockerEngine, spec: MakeSpec
) -> None:
    await run(driver, spec("head -c 10000000 /dev/zero | tr '\\0' x | fold -w 1000"))

    tracemalloc.start()
    async with aclosing(driver.logs("app_test", follow=True)) as lines:
        await anext(lines)
        await asyncio.sleep(0.3)  # time enough for 10 MB to pile up, if nothing held it back
        _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 3_000_000


async def test_bytes_that_are_no_text_do_not_break_the_stream(driver: DockerEngine, spec: MakeSpec) -> None:
    await run(driver, spec("head -c 300000 /dev/urandom; echo; echo end"))

    last = LogLine(time=datetime.now(UTC), stream="stdout", text=b"")
    async for line in driver.logs("app_test"):
        last = line

    assert last.text.endswith(b"end")


async def test_container_with_a_terminal_is_read_too(
    driver: DockerEngine, engine: Engine, prefix: str, instance: str, base_image: str
) -> None:
    label = f"io.rooftree.instance={instance}"
    script = "echo one; head -c 40000 /dev/zero | tr '\\0' x; echo; echo three"
    engine.run("run", "-t", "--name", f"{prefix}app_test", "--label", label, base_image, "sh", "-c", script)

    lines = [line async for line in driver.logs("app_test")]

    assert [line.text for line in lines] == [b"one", b"x" * 40000, b"three"]
    assert all(line.time.year >= 2024 for line in lines)


async def test_log_of_a_container_that_is_not_there(driver: DockerEngine) -> None:
    with pytest.raises(ContainerNotFound):
        async for _ in driver.logs("app_missing"):
            pass


async def test_follower_that_leaves_frees_its_line(driver: DockerEngine, spec: MakeSpec, events: Events) -> None:
    await driver.create(spec("while echo x; do sleep 0.05; done"))
    await driver.start("app_test")
    async with watching(driver):
        for _ in range(3):
            async with aclosing(driver.logs("app_test", follow=True)) as lines:
                await anext(lines)

        assert len(driver._client._streams) <= 1  # the event stream


@pytest.mark.parametrize("call", ["logs", "log_text"])
async def test_container_that_goes_while_its_log_is_asked_for_is_said_to_be_gone(
    driver: DockerEngine, spec: MakeSpec, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(driver, spec("echo hello"))
    look = driver._ours

    async def look_and_lose(name: str) -> object:
        described = await look(name)
        await driver.remove(name)
        return described

    monkeypatch.setattr(driver._logs, "_find", look_and_lose)

    with pytest.raises(ContainerNotFound, match="There is no container app_test any more"):
        async for _ in getattr(driver, call)("app_test"):
            pass


# --- places in it ---------------------------------------------------------------------------------------------------


def kept(driver: DockerEngine, name: str = "app_test") -> KeptLog:
    return KeptLog(
        lines=partial(driver.logs, name), text=partial(driver.log_text, name), source=LogSource(identifier=name)
    )


async def read(answer: Stream) -> tuple[list[str], str]:
    text = b"".join([chunk async for chunk in answer.chunks])
    return text.decode().splitlines(), answer.headers.get("X-First-Cursor", "")


async def pages(log: KeptLog, size: int) -> list[str]:
    """The whole log, from its end, as the frontend comes to it."""
    lines, cursor = await read(await log.answer(asked_query(lines=size)))
    while True:
        page, before = await read(await log.answer(asked_query(range=f"entries={cursor}:-{size}:{size}")))
        if not page:
            return lines
        lines, cursor = page + lines, before


BOTH = "for n in $(seq 1 1500); do echo out $n; echo err $n >&2; done"


@pytest.mark.parametrize("first_look", [16, 1024])
async def test_log_of_two_streams_is_paged_whole(
    driver: DockerEngine, spec: MakeSpec, first_look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_log, "FIRST_LOOK", first_look)
    await run(driver, spec(BOTH))
    everything = [line.text.decode() async for line in driver.logs("app_test")]

    assert len(everything) == 3000
    assert await pages(kept(driver), 270) == everything


async def test_times_and_places_are_found_to_the_microsecond(driver: DockerEngine, spec: MakeSpec) -> None:
    await run(driver, spec("for n in $(seq 1 200); do echo $n; done"))
    lines = [line async for line in driver.logs("app_test")]
    first = datetime(1970, 1, 1, tzinfo=UTC)
    since, until = ((lines[at].time - first) // timedelta(microseconds=1) for at in (49, 99))

    async def asked(range: str) -> list[str]:
        return (await read(await kept(driver).answer(asked_query(range=range))))[0]

    assert await asked(f"realtime={since}:{until}:1000") == [str(number) for number in range(50, 101)]
    assert await asked(f"realtime={since}::3:2") == ["53", "54"]
    assert await asked(f"realtime=:{until}:-1:") == ["99", "100"]
    assert await asked(f"realtime={until + 10**12}:") == []
    assert await asked("entries=:-0:") == ["200"]


async def test_log_goes_on_over_a_restart_and_what_rotation_took_is_the_end_of_the_pages(
    driver: DockerEngine, engine: Engine, prefix: str, instance: str, base_image: str
) -> None:
    label = f"io.rooftree.instance={instance}"
    limits = ["--log-driver=json-file", "--log-opt=max-size=20k", "--log-opt=max-file=2"]
    script = "for n in $(seq 1 500); do echo $(cut -d. -f1 /proc/uptime) $n; done"
    engine.run("run", *limits, "--name", f"{prefix}app_test", "--label", label, base_image, "sh", "-c", script)
    old = (await read(await kept(driver).answer(asked_query(lines=1))))[1]
    engine.run("start", "--attach", f"{prefix}app_test")

    everything = [line.text.decode() async for line in driver.logs("app_test")]
    assert 50 < len(everything) < 499
    assert await pages(kept(driver), 30) == everything
    assert (await read(await kept(driver).answer(asked_query(range=f"entries={old}:-9:9")))) == ([], "")
    assert (await read(await kept(driver).answer(asked_query(range=f"entries={old}:0:9"))))[0] == everything[:9]


async def test_place_is_found_while_the_container_writes(driver: DockerEngine, spec: MakeSpec) -> None:
    await driver.create(spec("n=0; while sleep 0.002; do n=$((n+1)); echo $n; done"))
    await driver.start("app_test")
    await asyncio.sleep(2)

    page, cursor = await read(await kept(driver).answer(asked_query(lines=100)))
    before, _ = await read(await kept(driver).answer(asked_query(range=f"entries={cursor}:-100:100")))

    numbers = [int(line) for line in before + page]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(before) == 100 or numbers[0] == 1


async def test_place_in_the_log_of_a_container_that_has_gone_says_so(driver: DockerEngine, spec: MakeSpec) -> None:
    await run(driver, spec("echo one"))
    cursor = (await read(await kept(driver).answer(asked_query(lines=1))))[1]
    await driver.remove("app_test")

    for header in (f"entries={cursor}:-9:9", f"entries={cursor}", "realtime=0:"):
        with pytest.raises(ContainerNotFound):
            await kept(driver).answer(asked_query(range=header))


async def test_clients_that_page_back_a_log_of_megabytes_take_little_memory(
    driver: DockerEngine, spec: MakeSpec
) -> None:
    await run(driver, spec("head -c 8000000 /dev/zero | tr '\\0' x | fold -w 1000 | nl"))
    cursor = (await read(await kept(driver).answer(asked_query(lines=3_000))))[1]

    async def page() -> list[str]:
        answer = await kept(driver).answer(asked_query(range=f"entries={cursor}:-100:100"))
        return (await read(answer))[0]

    tracemalloc.start()
    found = await asyncio.gather(*[page() for _ in range(CLIENTS)])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [line.split()[0] for line in found[0]] == [str(number) for number in range(4901, 5001)]
    assert all(page == found[0] for page in found)
    assert peak_bytes < CLIENTS * 1_500_000  # of five million before the place that each asks for
