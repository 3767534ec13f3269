"""The daemon is killed, as by ``kill -9`` or a power cut, at the steps of what it does to add-ons.

Whatever was under way, the world is afterwards as before it, or as if it had been finished: nothing is left over, the
interrupted job can be seen, and doing it again works. Each time that is tried at the steps which act on the engine; at
the others ``tests/plugins/addons/test_kills.py`` kills each time, with an engine that is none, and ``make torture``
here too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from signal import SIGKILL
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from attrs import evolve, frozen

from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, LARGE_DOCKERFILE, REPOSITORY, WAITS, addon_files, large_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.footprint import Footprint
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.line import line_to
from tests.rig.registry import Registry
from tests.rig.waiting import until, wait_until

TOGETHER = pytest.mark.xdist_group("kills")

CONVERGES_S = 15.0


# --- what is killed where ---------------------------------------------------------------------------------------------


@frozen
class Case:
    """One operation, killed at one place."""

    operation: str
    """A method of :class:`Addon`."""
    addon: str
    failpoints: str
    undone: bool = False
    """Whether the operation fails first, and its undoing is what is killed."""
    telling: bool = True
    """Whether the case is run each time, or by ``make torture`` only."""

    def __str__(self) -> str:
        return f"{self.operation}-{self.addon}-{self.failpoints}"


PULL, BUILD, KEEP = "docker.pull_image/1", "docker.build_image/1", "docker.keep_image/1"
ENTER = ("addons.create_data_folder/1", "addons.register/1")
RUN = ("addons.set_desired/1", "addons.create_container/1", "addons.start_container/1")
REPLACE = (
    "addons.stop_container/1",
    "addons.keep_data/1",
    "addons.change_version/1",
    "addons.create_container/1",
    "addons.begin_probation/1",
    "addons.start_container/1",
)
REMOVE = (
    "addons.set_desired/1",
    "addons.remove_container/1",
    "docker.remove_image/1",
    "addons.remove_data/1",
    "addons.unregister/1",
    "addons.delete_removed/1",
)
ROLL_BACK = (
    "addons.keep_failed_log/1",
    "addons.remove_container/1",
    "docker.bring_back_image/1",
    "addons.put_back_data/1",
    "addons.put_back_version/1",
    "docker.remove_image/1",
    "addons.drop_kept_data/1",
    "addons.create_container/1",
    "addons.start_container/1",
)
INSTALLED = (PULL, BUILD, *ENTER)
PREPARED: Mapping[str, Sequence[str]] = {
    "install": (),
    "start": INSTALLED,
    "update": (*INSTALLED, *RUN),
    "uninstall": (*INSTALLED, *RUN),
    "roll_back": (*INSTALLED, *RUN, KEEP, PULL, *REPLACE),
}
"""The steps that were done, so often, to get where the operation begins."""
JOBS_BEFORE = {"install": 1, "start": 2, "update": 4, "uninstall": 3, "roll_back": 5}
"""So many jobs the same process has accepted until then, with the store's reloads."""


TELLING: Mapping[str, Sequence[str]] = {
    "install": (PULL, BUILD),
    "start": ("addons.create_container/1", "addons.start_container/1"),
    "update": (BUILD, KEEP, "addons.keep_data/1", "addons.start_container/1"),
    "uninstall": ("addons.remove_container/1", "docker.remove_image/1"),
    "roll_back": ("docker.bring_back_image/1", "addons.put_back_data/1"),
}
"""The steps at whose end each operation is killed each time: what they do to the engine, or to data that an add-on has
written in its container, they do here for the first time. "done" and not yet written is the hardest to get right, and
implies the others."""
TELLING_UNDONE: Mapping[str, Sequence[str]] = {
    "install": (PULL, BUILD),
    "start": ("addons.start_container/1",),
    "update": (KEEP, "addons.stop_container/1"),
}
"""The steps at whose undoing it is killed each time."""


def killed(operation: str, addon: str, steps: Iterable[str]) -> Iterator[Case]:
    """The operation killed around its acceptance, around each of its steps, and before its end is written."""
    time = JOBS_BEFORE[operation] + 1
    for place in ("job:accepted", "job:end"):
        # The kernel's doing, and the same whatever the job is for.
        yield Case(operation, addon, f"{place}=kill@{time}", telling=(operation, addon) == ("install", "pulled"))
    for step in steps:
        again = f"@{PREPARED[operation].count(step) + 1}"
        for place in ("before", "do", "done"):
            telling = place == "done" and step in TELLING[operation]
            yield Case(operation, addon, f"step:{step}:{place}=kill{again}", telling=telling)


def killed_undoing(operation: str, addon: str, steps: Iterable[str]) -> Iterator[Case]:
    """The operation fails in its last step but one, and is killed as it takes each step back."""
    *earlier, last = steps
    again = f"@{PREPARED[operation].count(last) + 1}"
    for step in (*earlier, last):
        failpoints = f"step:{last}:done=raise{again},step:{step}:undo=kill"
        yield Case(operation, addon, failpoints, undone=True, telling=step in TELLING_UNDONE[operation])


CASES = [
    *killed("install", "pulled", (PULL, *ENTER)),
    *killed("install", "built", (BUILD,)),
    *killed("start", "pulled", RUN),
    *killed("update", "pulled", (KEEP, PULL, *REPLACE)),
    *killed("update", "built", (BUILD,)),
    *killed("uninstall", "pulled", REMOVE),
    *killed("roll_back", "pulled", ROLL_BACK),
    *killed_undoing("install", "pulled", (PULL, *ENTER)),
    *killed_undoing("install", "built", (BUILD,)),
    *killed_undoing("start", "pulled", RUN),
    *killed_undoing("update", "pulled", (KEEP, PULL, *REPLACE)),
]


# --- the world --------------------------------------------------------------------------------------------------------


@frozen
class World:
    """A daemon with a repository of two add-ons, and what is needed to release new versions of them."""

    daemon: Daemon
    engine: Engine
    registry: Registry
    repository: GitRepository
    base_image: str
    slug: str
    """Of the repository."""

    def addon(self, name: str) -> Addon:
        """One of the add-ons."""
        return Addon(self.daemon, self.engine, f"{self.slug}_{name}")

    async def release(self, version: str) -> None:
        """Offer both add-ons in this version."""
        self.offer(
            {
                **addon_files("pulled", version, image=f"{self.registry.address}/kills/pulled"),
                **addon_files("built", version, base=self.base_image),
            }
        )
        await self.daemon.ok("POST", "/store/reload")

    def offer(self, files: Mapping[str, str]) -> None:
        """Push these files to the repository, unless they are there."""
        paths = {self.repository.folder / name: text for name, text in files.items()}
        if any(not path.exists() or path.read_text() != text for path, text in paths.items()):
            self.repository.write(files)
            self.repository.push()

    async def lead_up_to(self, operation: str, addon: Addon) -> None:
        """Do with an add-on what comes before an operation."""
        await self.release("1.0")
        if operation != "install":
            await addon.install()
        if operation in {"update", "uninstall", "roll_back"}:
            await addon.start()
            (addon.data / "counter").write_text("41", encoding="utf-8")
        if operation in {"update", "roll_back"}:
            await self.release("2.0")
        if operation == "roll_back":
            await addon.update()
            (addon.data / "counter").write_text("broken", encoding="utf-8")

    async def footprint(self) -> Footprint:
        """What there is now."""
        return await Footprint.of(self.daemon, self.engine, registry=self.registry.address)

    async def becomes(self, *expected: Footprint) -> Footprint:
        """Wait until there is what one of these shows, and nothing else; which one."""

        async def found() -> Footprint | None:
            now = await self.footprint()
            return now if now in expected else None

        try:
            footprint = await until(found, within_s=CONVERGES_S, what="one of the expected worlds")
        except TimeoutError:
            assert await self.footprint() in expected  # shows what differs
            raise
        assert footprint is not None
        return footprint

    async def begin_anew(self) -> None:
        """Take every add-on away, and let the daemon end."""
        if not self.daemon.running:
            await self.daemon.start()
        await self.daemon.recovered()
        for addon in (await self.daemon.ok("GET", "/addons"))["addons"]:
            await Addon(self.daemon, self.engine, addon["slug"]).uninstall()
        for job in (await self.daemon.ok("GET", "/jobs/info"))["jobs"]:
            await self.daemon.job(job["uuid"])  # the daemon may have begun one by itself
            await self.daemon.ok("DELETE", f"/jobs/{job['uuid']}")
        await self.daemon.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: Engine, registry: Registry, git_server: GitServer, base_image: str) -> AsyncIterator[World]:
    """One world for all tests; between them nothing is installed, and the daemon does not run."""
    for version in ("1.0", "2.0"):
        registry.publish("kills/pulled", version, DOCKERFILE.format(version=version), {"run.sh": WAITS})
    name = f"kills-{secrets.token_hex(2)}"  # a worker that runs both groups of these tests makes two worlds
    repository = git_server.repository(name, REPOSITORY)
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        added = (await daemon.ok("GET", "/store/repositories"))[-1]["slug"]
        await daemon.kill()
        yield World(daemon, engine, registry, repository, base_image, added)


@pytest.fixture
async def world(shared: World) -> AsyncIterator[World]:
    """The world, left as it was found."""
    yield shared
    await shared.begin_anew()


@frozen
class Outcome:
    """What an operation finds, and what it leaves when nothing gets in its way."""

    before: Footprint
    after: Footprint


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], Outcome]:
    """The outcomes that are known, by operation and add-on."""
    return {}


@pytest.fixture
async def outcome(
    case: Case, world: World, outcomes: dict[tuple[str, str], Outcome], request: pytest.FixtureRequest
) -> Outcome:
    """What the case's operation finds and leaves: it is done once undisturbed."""
    key = case.operation, case.addon
    if key not in outcomes:
        await world.daemon.start()
        addon = world.addon(case.addon)
        await world.lead_up_to(case.operation, addon)
        before = await world.footprint()
        await getattr(addon, case.operation)()
        outcomes[key] = Outcome(before, await world.footprint())
        await world.begin_anew()
    return outcomes[key]


# --- the tests --------------------------------------------------------------------------------------------------------


def marks(case: Case) -> list[pytest.MarkDecorator]:
    """When a case is run, beside which others, and what is expected of it."""
    found = [pytest.mark.xdist_group("kills-update") if case.operation in {"update", "roll_back"} else TOGETHER]
    if not case.telling:
        found.append(pytest.mark.torture)
    return found


@pytest.mark.parametrize("case", [pytest.param(case, id=str(case), marks=marks(case)) for case in CASES])
async def test_killed_operation_leaves_the_world_as_before_or_after_it(
    case: Case, world: World, outcome: Outcome
) -> None:
    daemon, addon = world.daemon, world.addon(case.addon)
    await daemon.start(failpoints=case.failpoints)
    await world.lead_up_to(case.operation, addon)

    with pytest.raises(aiohttp.ClientError):
        await getattr(addon, case.operation)()
    assert await daemon.ended() == -SIGKILL
    await daemon.start()
    await daemon.recovered()

    found = await world.becomes(outcome.before, outcome.after)
    interrupted = (await daemon.ok("GET", "/jobs/info"))["jobs"][0]
    assert interrupted["reference"] == addon.slug and case.operation in interrupted["name"]
    if found == outcome.before:
        error = interrupted["errors"][0]
        assert error["type"] == ("OSError" if case.undone else "JobInterrupted")
        await getattr(addon, case.operation)()
        assert await world.footprint() == outcome.after
    else:
        assert interrupted["errors"] == [] and not case.undone
    if any(entry.endswith("started") for entry in outcome.after.installed):
        assert (await answers(addon))["version"] == (await addon.info())["version"]
    if case.operation in {"update", "roll_back"}:
        assert (addon.data / "counter").read_text() == "41"


async def answers(addon: Addon) -> Any:
    """What the add-on is told about itself, from inside and with its own token."""

    async def told() -> Any:
        status, own = addon.ask("/addons/self/info")
        return own if status == 200 else None

    return await until(told, within_s=10, what="an answer to the add-on's token")


FAILS = "#!/bin/sh\necho broken > /data/counter\necho no such table: notes\nexit 7\n"


@pytest.mark.parametrize(
    "killed_at",
    [
        "start_container/1:undo",
        pytest.param("begin_probation/1:undo", marks=pytest.mark.torture),
        pytest.param("create_container/1:undo", marks=pytest.mark.torture),
        "keep_data/1:undo",
    ],
)
@TOGETHER
async def test_reason_why_an_update_failed_outlives_a_kill_while_it_is_taken_back(world: World, killed_at: str) -> None:
    daemon, addon = world.daemon, world.addon("fails")
    images = {"1.0": WAITS, "2.0": FAILS}
    for version, script in images.items():
        world.registry.publish("kills/fails", version, DOCKERFILE.format(version=version), {"run.sh": script})
    image = f"{world.registry.address}/kills/fails"
    await daemon.start(failpoints=f"step:addons.{killed_at}=kill")
    world.offer(addon_files("fails", "1.0", image=image))
    await world.release("1.0")
    await addon.install()
    await addon.start()
    (addon.data / "counter").write_text("41", encoding="utf-8")
    world.offer(addon_files("fails", "2.0", image=image))
    await daemon.ok("POST", "/store/reload")

    with pytest.raises(aiohttp.ClientError):
        await addon.update()
    assert await daemon.ended() == -SIGKILL
    await daemon.start()
    await daemon.recovered()

    assert (await answers(addon))["version"] == "1.0"
    state = await daemon.ok("GET", f"/kernel/v1/addons/{addon.slug}/probation")
    (problem,) = [
        problem
        for problem in (await daemon.ok("GET", "/kernel/v1/problems"))["problems"]
        if (problem["type"], problem["reference"]) == ("update_rolled_back", addon.slug)
    ]
    assert (state["back_to"], state["failed_version"]) == (None, "2.0")
    assert "it ended with exit code 7 as soon as it was started" in problem["message"]
    assert (addon.data / "counter").read_text() == "41"
    kept = daemon.data_dir / "apps" / "kept" / addon.slug
    assert [path.read_text() for path in kept.glob("failed-*/data/counter")] == ["broken\n"]
    assert [path.read_text() for path in kept.glob("failed-*/log.txt")] == ["no such table: notes\n"]


@TOGETHER
async def test_add_on_runs_on_while_the_daemon_is_killed_and_is_taken_over(world: World) -> None:
    daemon, addon = world.daemon, world.addon("pulled")
    await daemon.start()
    await world.lead_up_to("uninstall", addon)
    token, container = addon.token(), addon.container_id()

    await daemon.kill()
    assert addon.runs()
    await daemon.start()
    await daemon.recovered()

    assert (addon.container_id(), addon.token()) == (container, token)
    assert (await addon.info())["state"] == "started"
    assert (await answers(addon))["slug"] == addon.slug
    assert (await world.footprint()).tokens == 1
    await addon.stop()
    assert (await daemon.call("GET", "/addons/self/info", token=token))[0] == 403


@TOGETHER
async def test_add_on_that_ended_while_the_daemon_was_away_is_started_again(world: World) -> None:
    daemon, addon = world.daemon, world.addon("pulled")
    await daemon.start()
    await world.lead_up_to("uninstall", addon)
    before = await world.footprint()

    await daemon.kill()
    world.engine.run("kill", addon.container)
    await daemon.start()
    await daemon.recovered()

    await world.becomes(evolve(before, files=before.files | {f"{addon.slug} failed"}))  # the log of that end
    assert (await answers(addon))["slug"] == addon.slug


@TOGETHER
async def test_kill_in_the_middle_of_a_pull_leaves_no_half_image(world: World) -> None:
    world.registry.publish("kills/large", "1.0", LARGE_DOCKERFILE, large_files())
    daemon, addon = world.daemon, world.addon("large")
    await daemon.start()
    async with line_to(int(world.registry.address.rpartition(":")[2])) as line:
        image = f"127.0.0.1:{line.port}/kills/large"
        world.offer(addon_files("large", image=image))
        await world.release("1.0")
        before = await world.footprint()
        line.hold_after(2_000_000)

        started = await daemon.ok("POST", f"/store/addons/{addon.slug}/install", {"background": True})
        await line.held()
        await daemon.kill()
        line.release()
        await daemon.start()
        await daemon.recovered()

        assert (await daemon.job(started["job_id"]))["errors"][0]["type"] == "JobInterrupted"
        await world.becomes(before)
        assert world.engine.run("images", "--quiet", image) == ""
        await addon.install()
        assert (await addon.info())["version"] == "1.0"
        await addon.uninstall()
        assert world.engine.run("images", "--quiet", image) == ""


@TOGETHER
async def test_kill_in_the_middle_of_a_build_leaves_no_half_image(world: World) -> None:
    daemon, addon = world.daemon, world.addon("slow")
    await daemon.start()
    slow = addon_files("slow", base=world.base_image)
    sleep = f"sleep 3 # {secrets.token_hex()}"
    dockerfile = f"FROM {world.base_image}\nRUN echo begun\nRUN {sleep}\nCOPY run.sh /run.sh\nCMD /run.sh\n"
    world.offer({**slow, "slow/Dockerfile": dockerfile})
    await world.release("1.0")
    before = await world.footprint()

    def builds() -> bool:
        return sleep in world.engine.run("ps", "--no-trunc", "--format", "{{.Command}}")

    await daemon.ok("POST", f"/store/addons/{addon.slug}/install", {"background": True})
    await asyncio.to_thread(wait_until, builds, within_s=20, what="the build's second step")
    await daemon.kill()
    await daemon.start()
    await daemon.recovered()

    await world.becomes(before)
    await asyncio.to_thread(wait_until, lambda: not builds(), within_s=20, what="the end of the build's container")
    world.offer(addon_files("slow", base=world.base_image))
    await world.release("1.0")
    await addon.install()
    await addon.start()
    assert (await answers(addon))["slug"] == addon.slug


@TOGETHER
async def test_options_that_were_accepted_survive_a_kill(world: World) -> None:
    daemon, addon = world.daemon, world.addon("chosen")
    await daemon.start()
    keys = {"a": "int", "b": "int"}
    world.offer(addon_files("chosen", base=world.base_image, options={"a": 1, "b": 1}, schema=keys))
    await world.release("1.0")
    await addon.install()

    await daemon.ok("POST", f"/addons/{addon.slug}/options", {"options": {"a": 2, "b": 3}, "boot": "manual"})
    await daemon.kill()
    await daemon.start()

    info = await addon.info()
    assert (info["options"], info["boot"]) == ({"a": 2, "b": 3}, "manual")
