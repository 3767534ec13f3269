"""A plugin in a file: what can be one, and that what runs is what the file says, whatever it says."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest

from rooftree import Invalid
from rooftree.cli.plugin_file import PluginFile, plugin_files
from rooftree.jobs.steps import KINDS
from rooftree.plugins import plugins
from rooftree.settings import load
from rooftree.testing import Client, running_system
from tests.kernel.daemon_process import DEADLINE_S, ended, printed

SETTINGS = load(config=None, environ={"ROOFTREE_CONFIG": ""}, flags={})
SPEED = """
from attrs import frozen
from rooftree import PUBLIC, JobCall, Plugin, Role, Routes, Step, Steps, document, job, role, step

routes = Routes()


@document("speed.count", version=1)
@frozen
class Count:
    number: int


class Speed(Plugin):
    name = "speed"

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel) -> None:
        counts = await kernel.collection(Count)
        self.count = counts.get("main", Count(0)).number + 1
        await kernel.commit(counts.put("main", Count(self.count)))
        print("speed sets up", self.count, flush=True)
        kernel.defer(print, "speed gives back", self.count)


@routes.get("/speed", access=PUBLIC)
def limit(speed: Speed) -> dict[str, int]:
    return {"limit": 1, "count": speed.count}


@step("speed.drive/1")
class Drive(Step):
    interruptible = True

    async def do(self) -> None:
        import asyncio
        await asyncio.sleep(3600)


@job("speed_drive", recovery="forward")
async def drive() -> Steps:
    return [Drive()]


@routes.post("/speed/drive", access=role(Role.ADMIN))
def go() -> JobCall[None]:
    return drive().detached()
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """The plugin's file; its module and steps are nobody's afterwards."""
    file = tmp_path / "speed.py"
    file.write_text(SPEED)
    sys.modules.pop("speed", None)  # one that was given up may have been imported behind its test
    yield file
    sys.modules.pop("speed", None)
    KINDS.pop("speed.drive/1", None)


@pytest.fixture
def point(file: Path) -> EntryPoint:
    return PluginFile.at(file).installed.point


class Daemon:
    """``rooftree run --plugin``, and no other plugin."""

    def __init__(self, folder: Path, file: Path, plugin: str) -> None:
        self.file = file
        self.socket = folder / "rooftree.sock"
        self.config = folder / "rooftree.toml"
        kernel = f'[kernel]\nport = 0\ndata_dir = "{folder}/data"\n'
        self.config.write_text(f'{kernel}[plugins]\nenabled = ["{plugin}"]\n')

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rooftree.cli", "--config", str(self.config), "run", "--plugin", self.file.name,
            cwd=self.file.parent, stdout=PIPE, stderr=STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "ROOFTREE_SOCKET": str(self.socket)},
        )  # fmt: skip
        try:
            async with asyncio.timeout(3 * DEADLINE_S):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session:
            yield Client(session, "http://rooftree", None)

    def save(self, old: str, new: str) -> None:
        """Change the file, as an editor does."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))


async def test_what_runs_is_what_the_file_says_and_each_save_has_its_chance(file: Path) -> None:
    with TemporaryDirectory(prefix="rt-") as folder:  # short, for the unix socket in it
        daemon = Daemon(Path(folder), file, "speed")
        async with daemon.process() as process:
            await printed(process, "plugins_started")
            async with daemon.client() as client:
                assert (await client.get("/speed")).data == {"limit": 1, "count": 1}

                daemon.save('"limit": 1', '"limit": 2')
                said = await printed(process, "plugin_file_loaded")
                assert said.index("speed gives back 1") < said.index("speed sets up 2")
                assert (await client.get("/speed")).data == {"limit": 2, "count": 2}

                daemon.save("def limit(speed: Speed)", "def limit(speed: Speed))")
                assert "speed gives back 2" in await printed(process, "plugin_file_loaded")
                refused = await client.get("/speed")
                assert (refused.status, refused.message) == (
                    503,
                    "Plugin speed does not run: SyntaxError: unmatched ')' (speed.py, line 29)",
                )

                daemon.save("def limit(speed: Speed))", "def limit(speed: Speed)")
                daemon.save("self.count = ", "self.count = {}['main'] or ")
                await printed(process, "plugin_file_loaded")
                refused = await client.get("/speed")
                assert refused.message == "Plugin speed does not run: KeyError: 'main' (speed.py:22, setup)"

                daemon.save("{}['main'] or ", "")
                daemon.save("class Drive(Step)", "class Travel(Step)")  # of the same kind
                daemon.save("Drive()", "Travel()")
                await printed(process, "state=ok")
                assert (await client.get("/speed")).data["limit"] == 2
                assert (await client.get("/kernel/v1/problems")).data == {"problems": []}

            process.terminate()
            status, rest = await ended(process)

    assert status == 0
    assert "speed gives back" in rest
    assert "Traceback" not in rest


async def test_job_that_a_save_interrupts_is_finished_by_the_new_text(
    file: Path, point: EntryPoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "DRAIN_S", 0.1)
    async with running_system(tmp_path, plugins=[point]) as system, Client.over_unix(system) as client:
        await client.post("/speed/drive")
        (job,) = system.jobs.listing()
        file.write_text(SPEED.replace("await asyncio.sleep(3600)", "print('arrived')"))

        await system.plugins.restart("speed")
        async with asyncio.timeout(DEADLINE_S):
            while not (job := await system.jobs.get(job.uuid)).done:
                await asyncio.sleep(0.02)

        assert job.errors == []


async def test_file_takes_the_place_of_an_installed_plugin_of_its_name(file: Path, tmp_path: Path) -> None:
    file = file.rename(tmp_path / "rooftree_supervisor.py")
    file.write_text(SPEED.replace('name = "speed"', 'name = "supervisor"'))
    with TemporaryDirectory(prefix="rt-") as folder:
        daemon = Daemon(Path(folder), file, "supervisor")
        async with daemon.process() as process, daemon.client() as client:
            await printed(process, "plugins_started")

            assert (await client.get("/speed")).data["limit"] == 1
            assert (await client.get("/supervisor/ping")).status == 404
            assert (await client.get("/kernel/v1/problems")).data == {"problems": []}


async def test_file_that_is_named_runs_whichever_installed_plugins_are_enabled(file: Path) -> None:
    with TemporaryDirectory(prefix="rt-") as folder:
        daemon = Daemon(Path(folder), file, "supervisor")
        async with daemon.process() as process, daemon.client() as client:
            await printed(process, "plugins_started")

            assert (await client.get("/speed")).data["limit"] == 1
            refused = await client.post("/kernel/v1/plugins/speed/disable")
            assert refused.message == "Plugin speed is enabled by flag --plugin; change that"


async def test_file_that_is_named_runs_though_it_was_disabled_in_an_earlier_run(
    file: Path, point: EntryPoint, tmp_path: Path
) -> None:
    async with running_system(tmp_path, plugins=[point]) as system:
        await system.plugins.disable("speed")

    plugin_file = await asyncio.to_thread(PluginFile.at, file)
    async with running_system(tmp_path) as system:
        await system.plugins.stay_disabled("speed", "it blocked")
        await system.plugins.start([], [plugin_file.installed])

        assert system.plugins.info("speed").state == "ok"
        assert list(system.problems) == []


async def test_file_whose_plugin_the_operator_disables_is_refused(file: Path) -> None:
    with TemporaryDirectory(prefix="rt-") as folder:
        daemon = Daemon(Path(folder), file, "supervisor")
        daemon.config.write_text(daemon.config.read_text().replace('enabled = ["supervisor"]', 'disabled = ["speed"]'))
        async with daemon.process() as process:
            status, said = await ended(process)

    assert status != 0
    assert "the plugin speed is disabled by rooftree.toml line 5; change that" in said


async def test_steps_and_plans_take_the_plugin_that_runs_by_its_class(
    file: Path, point: EntryPoint, tmp_path: Path
) -> None:
    text = SPEED.replace("async def do(self)", "async def do(self, speed: Speed)")
    text = text.replace("await asyncio.sleep(3600)", "speed.count += 10")
    text = text.replace(
        "async def drive() -> Steps:", "async def drive(speed: Speed) -> Steps:\n    speed.count += 100"
    )
    file.write_text(text)
    async with running_system(tmp_path, plugins=[point]) as system, Client.over_unix(system) as client:
        for start in (1, 2):
            assert (await client.get("/speed")).data["count"] == start
            await client.post("/speed/drive")
            async with asyncio.timeout(DEADLINE_S):
                while not all(job.done for job in system.jobs.listing()):
                    await asyncio.sleep(0.02)

            assert (await client.get("/speed")).data["count"] == start + 110
            await system.plugins.restart("speed")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "speed.py must have one subclass of rooftree.Plugin; it has none"),
        (
            "from rooftree import Plugin\nclass A(Plugin): ...\nclass B(Plugin): ...\n",
            "speed.py must have one subclass of rooftree.Plugin; it has A, B",
        ),
        (
            'from rooftree import Plugin\nclass A(Plugin):\n    name = "a"\n',
            "A.name must be 'speed', as its file is called, not 'a'",
        ),
        (
            "from rooftree.interfaces.boards import Board\nclass Acme(Board):\n    name = 'acme'\n",
            "speed.py has no plugin but a board, Acme; a board is tried by installing it "
            "(uv pip install --editable .): its distribution "
            "names it in the entry-point group rooftree.boards; rooftree new-plugin NAME --board writes one",
        ),
        ("import nothing_there\n", "ModuleNotFoundError: No module named 'nothing_there' (speed.py:1, <module>)"),
    ],
    ids=["none", "two", "other name", "board", "import"],
)
async def test_file_that_holds_no_plugin_is_failed_with_what_it_must_have(
    file: Path, point: EntryPoint, tmp_path: Path, text: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(text)
    async with running_system(tmp_path, plugins=[point], allow={"plugin_failed"}) as system:
        assert system.plugins.info("speed").reason == reason
        assert ("plugin_not_loaded" in caplog.text) == reason.startswith(
            "ModuleNotFoundError"
        )  # else a stack trace says no more


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json.py", "Python has a module json already; call the file rooftree_json.py"),
        ("sys.py", "Python has a module sys already; call the file rooftree_sys.py"),
        ("Speed.py", "the name of a plugin's file must be lower-case letters, digits, dashes and underscores"),
        ("speed limit.py", "the name of a plugin's file must be that of a module, such as speed.py"),
        ("speed.txt", "the name of a plugin's file must be that of a module, such as speed.py"),
        (
            "kernel.py",
            "the name of a plugin's file must be lower-case letters, digits, dashes and underscores",
        ),
    ],
)
def test_name_that_no_plugins_file_can_have_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(Invalid) as refused:
        plugin_files([tmp_path / name], SETTINGS)

    assert message in refused.value.message


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"speed\.py can't be read: No such file or directory"):
        plugin_files([tmp_path / "speed.py"], SETTINGS)


def test_two_files_with_one_plugin_are_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "rooftree_speed.py").touch()

    with pytest.raises(Invalid, match=r"rooftree_speed\.py: .*/speed\.py is the plugin speed already"):
        plugin_files([file, tmp_path / "rooftree_speed.py"], SETTINGS)


def test_file_that_is_put_aside_for_a_moment_or_saved_as_it_was_has_not_changed(file: Path) -> None:
    plugin_file = PluginFile.at(file)
    file.rename(file.with_suffix(".bak"))
    assert not plugin_file.has_changed()
    file.write_text(SPEED)
    assert not plugin_file.has_changed()
    file.write_text(f"{SPEED}\n")
    assert plugin_file.has_changed()
    assert not plugin_file.has_changed()
