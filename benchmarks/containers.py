"""What is done with containers, beside the docker command that does the same: installing, starting, measuring add-ons.

Both sides use the engine of this machine and, for images, a registry of our own on loopback. Images are of random
bytes, so that none has a layer of another. Everything that is made here is taken away again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import aiohttp
import processes
from attrs import frozen
from rows import TIMES, Bench, Row, Skipped
from servers import Installation, Running

from tests.rig.addon_files import DOCKERFILE, WAITS, addon_files
from tests.rig.engine import Engine, import_base_image
from tests.rig.files import write_files
from tests.rig.registry import Registry, serve_images

IMAGES = 20
IMAGE_MB = 5
RUNNING = 50
STARTS = 5
"""How often an add-on is started in a round."""
CALL_S = 120.0
MORE_THREADS = 8
"""Threads that reading the measures of all add-ons at once may bring, however many they are."""


@frozen
class House:
    """An engine and a registry, and an installation whose local add-ons come from there."""

    engine: Engine
    registry: Registry
    installation: Installation

    def offer(self, name: str, image: str) -> str:
        """Offer an add-on of that image; its slug."""
        files = addon_files(name, image=image.rpartition(":")[0])
        write_files(self.installation.data_dir / "apps" / "local", files)
        return f"local_{name}"

    def has(self, images: Sequence[str]) -> bool:
        """Whether the engine has any of them."""
        there = {*self.engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").split()}
        return not there.isdisjoint(images)


@contextlib.contextmanager
def open_house() -> Iterator[House]:
    """The house; raises :class:`Skipped` where there is no engine or no registry to be had."""
    for command in ("docker", "docker-registry", "busybox"):
        if shutil.which(command) is None:
            raise Skipped(f"the command {command}")
    engine = Engine()
    try:
        engine.run("version")
    except RuntimeError as error:
        raise Skipped(f"a Docker Engine: {error}") from None
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rt-")))
        base = f"rooftree-bench/base:{secrets.token_hex(4)}"
        import_base_image(base, engine)
        closing.callback(engine.run, "rmi", "--force", base)
        registry_folder = folder / "registry"
        registry_folder.mkdir()
        registry = closing.enter_context(serve_images(registry_folder, engine, base))
        prefix, subnet = f"rt{secrets.token_hex(4)}_", engine.free_subnet()
        docker = [f"prefix = {json.dumps(prefix)}", f"subnet = {json.dumps(subnet)}"]
        installation = Installation(folder, docker=docker)
        closing.callback(_remove_instance, engine, installation)
        yield House(engine, registry, installation)


def _remove_instance(engine: Engine, installation: Installation) -> None:
    with contextlib.suppress(FileNotFoundError):
        engine.remove_instance((installation.data_dir / "instance-id").read_text().strip())


class Caller:
    """Calls the daemon, side by side where many calls are given."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, path: str) -> None:
        """POST; raises when the answer is an error."""
        async with self._session.post(path, json={}) as response:
            await self._good(response)

    async def get(self, path: str) -> object:
        """GET; the data of the answer."""
        async with self._session.get(path) as response:
            return await self._good(response)

    async def _good(self, response: aiohttp.ClientResponse) -> object:
        body = await response.json()
        if response.status != 200:
            raise RuntimeError(f"{response.url.path} answered {response.status}: {body['message']}")
        return body["data"]

    async def until_engine(self) -> None:
        """Wait until the daemon has found the engine, and knows what runs."""
        async with asyncio.timeout(CALL_S):
            while not await self._is_well():
                await asyncio.sleep(0.05)

    async def _is_well(self) -> bool:
        plugins = (await self.get("/kernel/v1/plugins"))["plugins"]  # type: ignore[index]  # an object of the API
        addons = (await self.get("/addons"))["addons"]  # type: ignore[index]  # an object of the API
        return all(plugin["state"] == "ok" for plugin in plugins) and all(
            addon["state"] not in {"unknown", "startup"} for addon in addons
        )


def call_daemon[T](daemon: Running, token: str, work: Callable[[Caller], Awaitable[T]]) -> T:
    async def main() -> T:
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{daemon.port}",
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=CALL_S),
        ) as session:
            caller = Caller(session)
            await caller.until_engine()
            return await work(caller)

    return asyncio.run(main())


async def _seconds(*calls: Awaitable[object]) -> float:
    """How long these calls take side by side."""
    began = time.perf_counter()
    await asyncio.gather(*calls)
    return time.perf_counter() - began


async def _docker(*arguments: str) -> None:
    """The docker command; raises when it fails."""
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {said.decode().strip()}")


# --- installing -------------------------------------------------------------------------------------------------------


def install(bench: Bench) -> Iterator[Row]:
    with open_house() as house:
        noise = f"FROM base\nRUN dd if=/dev/urandom of=/noise bs=1000000 count={IMAGE_MB}\nCMD sleep 3600"
        images = [house.registry.publish(f"bench/noise{number}", "1.0", noise) for number in range(IMAGES)]
        slugs = [house.offer(f"noise{number}", image) for number, image in enumerate(images)]
        with house.installation.running() as (daemon, token):
            rounds = call_daemon(daemon, token, lambda caller: _installs(bench, house, caller, slugs, images))
    ratios = [each["install_s"] / each["pull_s"] for each in rounds]
    ours, theirs = (median(each[name] for each in rounds) for name in ("install_s", "pull_s"))
    what = f"{IMAGES} add-ons of {IMAGE_MB} MB installed side by side"
    yield Row(what, ratios, TIMES, 1.3, False, f"docker pull side by side ({ours:.2f} s of {theirs:.2f} s)", rounds)


async def _installs(
    bench: Bench, house: House, caller: Caller, slugs: Sequence[str], images: Sequence[str]
) -> list[dict[str, float]]:
    await caller.post("/store/reload")
    rounds = []
    for counts in bench.rounds():
        _refuse_leftovers(house, images)
        install_s = await _seconds(*(caller.post(f"/store/addons/{slug}/install") for slug in slugs))
        await _seconds(*(caller.post(f"/addons/{slug}/uninstall") for slug in slugs))
        _refuse_leftovers(house, images)
        pull_s = await _seconds(*(_docker("pull", "--quiet", image) for image in images))
        await _docker("rmi", *images)
        if counts:
            rounds.append({"install_s": install_s, "pull_s": pull_s})
    return rounds


def _refuse_leftovers(house: House, images: Sequence[str]) -> None:
    if house.has(images):
        raise RuntimeError("the engine has an image that should be fetched: the two sides would not be the same")


# --- starting ---------------------------------------------------------------------------------------------------------


def addon_start(bench: Bench) -> Iterator[Row]:
    with open_house() as house:
        image = house.registry.publish("bench/waits", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": WAITS})
        slug = house.offer("waits", image)
        with house.installation.running() as (daemon, token):
            rounds = call_daemon(daemon, token, lambda caller: _starts(bench, caller, slug, image))
    more_ms = [each["start_ms"] - each["run_ms"] for each in rounds]
    ours, theirs = (median(each[name] for each in rounds) for name in ("start_ms", "run_ms"))
    against = f"docker run of the same image ({ours:.0f} ms, of which {theirs:.0f} ms)"
    yield Row("add-on start, request to running, more than", more_ms, " ms", 150, False, against, rounds)


async def _starts(bench: Bench, caller: Caller, slug: str, image: str) -> list[dict[str, float]]:
    await caller.post("/store/reload")
    await caller.post(f"/store/addons/{slug}/install")
    rounds = []
    for counts in bench.rounds():
        ours, theirs = [], []
        for _ in range(STARTS):
            ours.append(await _seconds(caller.post(f"/addons/{slug}/start")) * 1e3)
            await caller.post(f"/addons/{slug}/stop")
            name = f"rooftree-bench-{secrets.token_hex(4)}"
            try:
                theirs.append(await _seconds(_docker("run", "--detach", "--name", name, image)) * 1e3)
            finally:
                await _docker("rm", "--force", name)
        if counts:
            rounds.append({"start_ms": median(ours), "run_ms": median(theirs)})
    return rounds


# --- measuring --------------------------------------------------------------------------------------------------------


def stats(bench: Bench) -> Iterator[Row]:
    with open_house() as house:
        image = house.registry.publish("bench/waits", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": WAITS})
        slugs = [house.offer(f"waits{number}", image) for number in range(RUNNING)]
        with house.installation.running() as (daemon, token):
            call_daemon(daemon, token, lambda caller: all_running(caller, slugs))
        rounds = []
        for counts in bench.rounds():
            # A start anew each time: whoever has asked before is answered faster.
            with house.installation.running() as (daemon, token):
                figures = call_daemon(daemon, token, lambda caller, daemon=daemon: _measures(caller, daemon, slugs))
            if counts:
                rounds.append(figures)
    what = f"stats of {RUNNING} running add-ons at once"
    yield Row(what, [each["seconds"] for each in rounds], " s", 2, False, "", rounds)
    more = [each["threads_more"] for each in rounds]
    before = median(each["threads_before"] for each in rounds)
    yield Row(f"{what}, threads more", more, "", MORE_THREADS, False, f"{before:.0f} before", None)


async def all_running(caller: Caller, slugs: Sequence[str]) -> None:
    await caller.post("/store/reload")
    for verb in ("/store/addons/{}/install", "/addons/{}/start"):
        await asyncio.gather(*(caller.post(verb.format(slug)) for slug in slugs))


async def _measures(caller: Caller, daemon: Running, slugs: Sequence[str]) -> dict[str, float]:
    before = most = processes.threads(daemon.pid)
    asking = asyncio.ensure_future(_seconds(*(caller.get(f"/addons/{slug}/stats") for slug in slugs)))
    while not asking.done():
        most = max(most, processes.threads(daemon.pid))
        await asyncio.sleep(0.01)
    return {"seconds": await asking, "threads_before": before, "threads_more": most - before}
