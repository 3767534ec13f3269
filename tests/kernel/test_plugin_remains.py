"""What a plugin leaves when it is uninstalled: kept for its return, removed when somebody asks for it."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import tempfile
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import frozen

from rooftree import (
    PUBLIC,
    CallerKind,
    Collection,
    Conflict,
    JobBusy,
    Kernel,
    Lock,
    NotFound,
    Plugin,
    Principal,
    Problem,
    Role,
    Routes,
    Run,
    Step,
    Steps,
    Unavailable,
    document,
    job,
    step,
)
from rooftree.jobs.steps import KINDS
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from tests.requirements import needs


@document("clock.count", version=1)
@frozen
class Count:
    asked: int


@document("shared.note", version=1)
@frozen
class Note:
    text: str


routes = Routes()


@routes.get("/clock", access=PUBLIC)
def clock() -> dict[str, str]:
    return {"now": "noon"}


class ClockPlugin(Plugin):
    name = "clock"

    async def setup(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.counts: Collection[Count] = await kernel.collection(Count)
        notes = await kernel.collection(Note)
        kernel.register_kind(CallerKind("hand"), lambda subject: Principal("hand", subject, Role.DEFAULT))
        fresh = kernel.tokens.new("hand", "hour")
        await asyncio.to_thread((await kernel.folder() / "springs").mkdir, exist_ok=True)
        await kernel.commit(self.counts.put("all", Count(7)), notes.put("clock", Note("tick")), fresh.change)
        kernel.problems.report(Problem("not_wound", "clock", None, "Wind the clock"))

    def routes(self) -> Routes:
        return routes


class OtherPlugin(Plugin):
    name = "other"

    async def setup(self, kernel: Kernel) -> None:
        await kernel.collection(Note)
        kernel.problems.report(Problem("other_trouble"))


@pytest.fixture
async def without_clock(tmp_path: Path) -> AsyncIterator[System]:
    """A system in which the clock was installed at the start before this one."""
    async with running_system(tmp_path, plugins=[ClockPlugin, OtherPlugin]):
        pass
    async with running_system(tmp_path, plugins=[OtherPlugin]) as system:
        yield system


async def test_uninstalled_plugin_answers_503_and_says_how_to_get_rid_of_the_rest(without_clock: System) -> None:
    async with Client.over_unix(without_clock) as client:
        answer = await client.get("/clock")

    assert answer.status == 503
    assert "rooftree plugins purge clock" in answer.message


async def test_problems_of_an_uninstalled_plugin_are_cleared_and_those_of_others_stay(without_clock: System) -> None:
    assert [(problem.type, problem.plugin) for problem in without_clock.problems] == [("other_trouble", "other")]


async def test_what_it_left_is_told(without_clock: System) -> None:
    (left,) = await without_clock.plugins.left_behind()

    assert (left.name, left.collections, left.documents, left.tokens) == ("clock", ["clock.count"], 1, 1)


async def test_what_it_left_is_told_of_one_whose_only_start_failed(tmp_path: Path) -> None:
    class StoppedClock(ClockPlugin):
        async def setup(self, kernel: Kernel) -> None:
            await super().setup(kernel)
            raise RuntimeError("the spring broke")

    async with running_system(tmp_path, plugins=[StoppedClock, OtherPlugin], allow={"plugin_failed"}):
        pass
    async with running_system(tmp_path, plugins=[OtherPlugin]) as system:
        (left,) = await system.plugins.left_behind()

    assert (left.name, left.collections, left.documents, left.tokens) == ("clock", ["clock.count"], 1, 1)


async def test_what_it_left_is_told_of_what_it_asked_for_while_it_ran(tmp_path: Path) -> None:
    class LateClock(ClockPlugin):
        async def setup(self, kernel: Kernel) -> None:
            self.kernel = kernel

        async def wind(self) -> None:
            await super().setup(self.kernel)

    async with running_system(tmp_path, plugins=[LateClock, OtherPlugin]) as system:
        life = system.plugins.find("clock")
        assert life is not None and isinstance(life.plugin, LateClock)
        await life.plugin.wind()
    async with running_system(tmp_path, plugins=[OtherPlugin]) as system:
        (left,) = await system.plugins.left_behind()

    assert (left.name, left.collections, left.documents, left.tokens) == ("clock", ["clock.count"], 1, 1)


def modes(folder: Path) -> tuple[int, int]:
    """Who may look into it, and into the one that holds all of them."""
    return stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(folder.parent.stat().st_mode)


async def test_folder_stays_until_it_is_purged(without_clock: System) -> None:
    folder = without_clock.data.path / "plugins" / "clock"
    (left,) = await without_clock.plugins.left_behind()
    assert left.folder == str(folder)
    assert await asyncio.to_thread(modes, folder) == (0o700, 0o700)
    assert await asyncio.to_thread((folder / "springs").is_dir)

    removed = await without_clock.plugins.purge("clock")

    assert removed.folder == str(folder)
    assert await asyncio.to_thread(os.listdir, folder.parent) == []


@needs(os.geteuid() == 0, "needs root, to mount something")
async def test_folders_that_it_holds_are_let_go_and_nothing_on_them_is_touched(without_clock: System) -> None:
    data = without_clock.data.path
    for name in ("tower", "cellar", "full", "plain"):
        (data / name).mkdir()
    (data / "full" / "file").touch()
    (data.parent / "outside").mkdir()
    (data / "link").symlink_to(data.parent / "outside")
    (data.parent / "outside" / "inner").mkdir()
    lines = (
        "link/inner",
        "tower",
        "cellar",
        "full",
        "plain",
        "gone",
        "../outside",
        str(data.parent / "outside"),
        "link",
        "",
        ".",
    )
    (data / "plugins" / "clock" / "held").write_text("\n".join(lines))
    for _ in range(2):
        await run("mount", "-t", "tmpfs", "tmpfs", str(data / "tower"))
    await run("chattr", "+i", str(data / "cellar"), str(data / "full"), str(data.parent / "outside"))
    await run("chattr", "+i", str(data.parent / "outside" / "inner"))

    try:
        await without_clock.plugins.purge("clock")

        assert not os.path.ismount(data / "tower")
        assert not (data / "cellar").exists(), "it was empty"
        (data / "full" / "other").touch()
        assert (data / "plain").is_dir(), "nobody held it"
        with pytest.raises(PermissionError):
            (data.parent / "outside" / "file").touch()
        with pytest.raises(PermissionError):
            (data.parent / "outside" / "inner" / "file").touch()
    finally:
        await run("chattr", "-R", "-i", str(data.parent / "outside"))


AS_NOBODY = """
import os, sys
from pathlib import Path
from rooftree.errors import RooftreeError
from rooftree.plugins.own_folders import remove_folder
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    remove_folder(Path(sys.argv[1]), "clock")
except RooftreeError as error:
    print(error.message)
"""


@needs(os.geteuid() == 0, "needs root")
async def test_who_is_not_root_can_purge_what_holds_nothing_and_is_told_what_takes_root(tmp_path: Path) -> None:
    data = await asyncio.to_thread(tempfile.mkdtemp, dir="/tmp")  # where nobody gets to
    for place in ("plugins/clock", "tow er", "cellar"):
        await asyncio.to_thread(Path(data, place).mkdir, parents=True)
    held = Path(data, "plugins/clock/held")
    await asyncio.to_thread(held.write_text, "cellar\ntow er\n")
    await run("chown", "-R", "nobody", data)

    async def purged() -> str:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", AS_NOBODY, data, stdout=PIPE)
        said, _ = await process.communicate()
        return said.decode()

    try:
        await run("mount", "-t", "tmpfs", "tmpfs", f"{data}/tow er")
        said = await purged()
        assert "tow er" in said and "run this as root" in said, said
        await run("umount", f"{data}/tow er")
        assert await purged() == ""
        assert not await asyncio.to_thread(held.parent.exists)
    finally:
        await run("rm", "-rf", data)


async def run(*command: str) -> None:
    """Run a command to its end, which is a good one."""
    assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0


async def test_folder_is_closed_again_to_others_and_never_a_link(tmp_path: Path) -> None:
    folders = list[Path]()

    class Keeping(Plugin):
        name = "keeping"

        async def setup(self, kernel: Kernel) -> None:
            folders.append(await kernel.folder())

    async with running_system(tmp_path, plugins=[Keeping], allow={"plugin_failed"}) as system:
        await asyncio.to_thread(folders[0].chmod, 0o755)
        await system.plugins.restart("keeping")
        assert await asyncio.to_thread(modes, folders[1]) == (0o700, 0o700)
        await asyncio.to_thread(folders[0].rmdir)
        await asyncio.to_thread(folders[0].symlink_to, tmp_path)
        await system.plugins.restart("keeping")
        assert "it is a link or a file" in (system.plugins.info("keeping").reason or "")
    async with running_system(tmp_path) as system:
        with pytest.raises(Unavailable, match="The folder of plugin keeping can't be removed"):
            await system.plugins.purge("keeping")
        assert [left.name for left in await system.plugins.left_behind()] == ["keeping"]
        await asyncio.to_thread(folders[0].unlink)
        assert (await system.plugins.purge("keeping")).folder is None


async def test_plugin_that_comes_back_finds_its_documents(tmp_path: Path, without_clock: System) -> None:
    await without_clock.stop()
    found = dict[str, Count]()

    class Back(ClockPlugin):
        async def setup(self, kernel: Kernel) -> None:
            found.update(await kernel.collection(Count))

    async with running_system(tmp_path, plugins=[Back, OtherPlugin]) as system:
        assert await system.plugins.left_behind() == []

    assert found == {"all": Count(7)}


async def test_purge_leaves_nothing_but_what_others_share(tmp_path: Path, without_clock: System) -> None:
    async with Client.over_unix(without_clock) as client:
        removed = await without_clock.plugins.purge("clock")
        status = (await client.get("/clock")).status

    assert (removed.documents, removed.tokens) == (1, 1)
    assert status == 404
    assert await without_clock.plugins.left_behind() == []
    assert without_clock.tokens.known("hand") == {}
    rows = await without_clock.database.read(
        lambda connection: connection.execute("SELECT collection, key FROM document").fetchall()
    )
    assert sorted(rows) == [
        ("kernel.known_routes", "other"),
        ("kernel.plugin_remains", "other"),
        ("kernel.problem", "other_trouble/system/"),
        ("kernel.token", next(iter(without_clock.tokens.known("token", "admin")))),
        ("shared.note", "clock"),
    ]


async def test_purge_empties_what_is_in_memory_too(tmp_path: Path, without_clock: System) -> None:
    counts = await without_clock.state.collection(Count)

    await without_clock.plugins.purge("clock")

    assert dict(counts) == {}


async def test_plugin_that_is_installed_is_not_purged(without_clock: System) -> None:
    with pytest.raises(Conflict, match="Plugin other is installed"):
        await without_clock.plugins.purge("other")


async def test_purge_of_what_nobody_left_names_what_there_is(without_clock: System) -> None:
    with pytest.raises(NotFound, match="something is left of clock"):
        await without_clock.plugins.purge("cloak")


async def test_choice_of_an_uninstalled_plugin_is_forgotten_with_it(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[ClockPlugin]) as system:
        await system.plugins.disable("clock")
    async with running_system(tmp_path) as system:
        await system.plugins.purge("clock")

    async with running_system(tmp_path, plugins=[ClockPlugin]) as system:
        assert system.plugins.info("clock").state == "ok"


# --- jobs that it did not end -------------------------------------------------------------------------------------


@step("test_plugin_remains.wind/1")
class Wind(Step):
    """Wind the clock."""

    async def do(self, run: Run) -> None:
        winding.set()
        if not wound.is_set():
            await asyncio.Event().wait()


winding, wound = threading.Event(), threading.Event()


@job("clock_wind", locks=lambda: [Lock("clock", "main")], when_busy="refuse")
async def wind() -> Steps:
    return [Wind()]


async def test_job_that_waits_for_a_purged_plugin_ends_as_failed_and_gives_its_locks_back(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[ClockPlugin], settings={"kernel.stop_timeout_s": 1}) as system:
        await system.jobs.run(wind().in_background())
        await asyncio.to_thread(winding.wait, 5)
    code = KINDS.pop(Wind.kind)
    try:
        async with running_system(tmp_path) as system:
            (waiting,) = system.jobs.listing()
            with pytest.raises(JobBusy):
                await system.jobs.run(wind())

            await system.plugins.purge("clock")

            ended = await system.jobs.get(waiting.uuid)
            assert (waiting.done, ended.done) == (False, True)
            assert "was uninstalled and purged" in ended.errors[0].message
            KINDS[Wind.kind] = code
            wound.set()
            await system.jobs.run(wind())
        async with running_system(tmp_path) as system:
            assert [info.done for info in system.jobs.listing()] == [True]
    finally:
        KINDS[Wind.kind] = code
