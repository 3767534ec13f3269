"""The container engine hangs. Whoever only looks gets an answer within a second, right or with the reason why not."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from attrs import frozen

from tests.attacks.engine_relay import Relay, engine_relay
from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.pace import on_this_machine
from tests.rig.waiting import until

pytestmark = [pytest.mark.timed, pytest.mark.docker, pytest.mark.xdist_group("frozen engine")]

WITHIN_S = 1.0
PROMPT_S = 0.1
SLACK_S = 0.25
"""What this machine, on which others work too, may add."""
OUTAGE = "container_engine_unavailable_error"
NEEDS_ENGINE = ("/stats", "/logs", "/docker/info")
"""In the paths of answers that only the engine has."""
DEAF = "#!/bin/sh\necho begins\nwhile :; do sleep 3600; done\n"
"""A program with a standard input that it does not read."""


@frozen
class House:
    """A daemon, the line between it and its engine, and an add-on that runs."""

    daemon: Daemon
    relay: Relay
    addon: Addon


@pytest.fixture
async def house(engine: Engine, base_image: str, tmp_path: Path) -> AsyncIterator[House]:
    """The house; its engine can hang."""
    socket_folder = Path(f"/run/rt-{tmp_path.name[-20:]}")
    await asyncio.to_thread(socket_folder.mkdir, exist_ok=True)
    path = socket_folder / "engine.sock"
    settings = [f"socket = {json.dumps(f'unix://{path}')}", "deadlines = { change = 3 }"]
    async with engine_relay(path, "/var/run/docker.sock") as relay, disposable_daemon(engine, settings) as daemon:
        files = {**REPOSITORY, **addon_files("deaf", base=base_image, script=DEAF, stdin=True, hassio_api=True)}
        folder = daemon.data_dir / "apps" / "local"
        for name, content in files.items():
            target = folder / name
            await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
            await asyncio.to_thread(target.write_text, content)
        await asyncio.to_thread((folder / "deaf" / "run.sh").chmod, 0o755)
        await daemon.start()
        addon = Addon(daemon, engine, "local_deaf")
        await addon.install()
        await addon.start()
        try:
            yield House(daemon, relay, addon)
        finally:
            relay.thaw()
    await asyncio.to_thread(path.unlink, missing_ok=True)
    await asyncio.to_thread(socket_folder.rmdir)


@frozen
class Answer:
    """What came of one request, and when."""

    path: str
    status: int
    body: str
    took_s: float


async def ask(daemon: Daemon, path: str) -> Answer:
    """Read an answer to its end, or as far as it has come within the time: a log that is followed goes on."""
    began = time.monotonic()
    async with daemon.request("GET", path) as response:
        answered_s = time.monotonic() - began
        body = b""
        try:
            async with asyncio.timeout(WITHIN_S):
                while block := await response.content.readany():
                    body += block
            took_s = time.monotonic() - began
        except TimeoutError:
            took_s = answered_s if "follow" in path or path == "/kernel/v1/events" else time.monotonic() - began
        except aiohttp.ClientError as error:
            return Answer(path, 0, repr(error), time.monotonic() - began)
        return Answer(path, response.status, body.decode(errors="replace"), took_s)


async def every_path(house: House) -> list[str]:
    """All that can be looked at, by the API's own document."""
    async with house.daemon.request("GET", "/openapi.json") as response:
        document = await response.json()
    parts = {"addon": house.addon.slug, "bootid": "0", "file": "docs.js", "repository": "local"}
    paths = [path for path, methods in document["paths"].items() if "get" in methods]
    return sorted(re.sub(r"\{(\w+?)(\.\.\.)?\}", lambda part: parts.get(part[1], "unknown"), path) for path in paths)


async def test_whatever_is_looked_at_is_answered_within_a_second_while_the_engine_hangs(house: House) -> None:
    paths = await every_path(house)
    before = {path: await ask(house.daemon, path) for path in paths}
    house.relay.freeze()

    answers = [await ask(house.daemon, path) for path in paths]
    again = [await ask(house.daemon, path) for path in paths]

    assert len(paths) > 60
    slow = [answer for answer in (*answers, *again) if answer.took_s > WITHIN_S + SLACK_S]
    assert not slow
    for answer in (*answers, *again):
        if answer.status == before[answer.path].status:
            continue
        assert answer.status == 503 and any(part in answer.path for part in NEEDS_ENGINE), answer
        assert OUTAGE in answer.body or "gives no sign of life" in answer.body or "did not answer" in answer.body
    assert "Traceback" not in house.daemon.log()
    house.relay.thaw()
    await until(lambda: _answers(house), within_s=20, what="the engine's answers")


async def _answers(house: House) -> bool:
    return (await ask(house.daemon, f"/addons/{house.addon.slug}/stats")).status == 200


async def test_what_is_known_is_answered_at_once_and_stays_right_while_the_engine_hangs(house: House) -> None:
    paths = ["/supervisor/info", "/info", "/supervisor/ping", "/addons", f"/addons/{house.addon.slug}/info", "/store"]
    known = {path: (await house.daemon.ok("GET", path)) for path in paths[:2]}
    house.relay.freeze()

    for path in paths:
        took = sorted([(await ask(house.daemon, path)).took_s for _ in range(5)])
        assert took[2] < on_this_machine(PROMPT_S), (path, took)
    meanwhile = {path: await house.daemon.ok("GET", path) for path in paths[:2]}

    assert meanwhile["/supervisor/info"]["ip_address"] == known["/supervisor/info"]["ip_address"] != "127.0.0.1"
    assert meanwhile["/info"]["docker"] == known["/info"]["docker"] != ""


async def test_add_on_that_does_not_read_costs_nothing_however_much_is_sent_to_it(house: House) -> None:
    daemon = house.daemon
    files = Path(f"/proc/{daemon.pid}/fd")
    before, memory = len(list(files.iterdir())), _resident(daemon.pid)
    most = memory

    async def send(session: aiohttp.ClientSession) -> tuple[int, str]:
        async with session.post(
            f"/addons/{house.addon.slug}/stdin", data=io.BytesIO(bytes(16 * 1024 * 1024))
        ) as response:
            return response.status, await response.text()

    headers = {"Authorization": f"Bearer {daemon.admin_token}"}
    async with aiohttp.ClientSession(daemon.url, headers=headers) as session:
        sending = [asyncio.create_task(send(session)) for _ in range(20)]
        while not all(task.done() for task in sending):
            most = max(most, _resident(daemon.pid))
            await asyncio.sleep(0.1)
        answers = [task.result() for task in sending]
        await until(lambda: _files(files, before + 2), within_s=10, what="closed files")
    print(f"{(most - memory) / 1024**2:.0f} MiB at most")

    assert {status for status, _ in answers} <= {409, 429, 503}
    assert any(status == 409 and "has not read its standard input for 3 s" in body for status, body in answers), {
        body[:200] for _, body in answers
    }
    assert most - memory < 128 * 1024 * 1024
    assert "Traceback" not in daemon.log()


async def _files(folder: Path, most: int) -> bool:
    return len(list(folder.iterdir())) <= most


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024
