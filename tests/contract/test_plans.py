"""For every route that starts a job: ``?plan=1`` says what the same call then does, and does nothing itself.

The routes are those whose handlers return the call of a job. Each has its situations in ``situations/<domain>.py``; a
route that has none fails the test. The journal is the witness of what really happened.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from rooftree.http.routes import Route
from rooftree.http.signature import answer_of
from rooftree.interfaces.boards import GROUP
from rooftree.jobs.journal import JobRecord, Journal
from rooftree.jobs.steps import KINDS
from rooftree.testing import Client, InstalledPlugin, running_system
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin
from rooftree_addons.plugin import AddonsPlugin
from rooftree_backups.plugin import BackupsPlugin
from rooftree_backups_vault.plugin import BackupsVaultPlugin
from rooftree_containers import container_steps as steps
from rooftree_homeassistant import core_health
from rooftree_homeassistant.plugin import HomeAssistantPlugin
from rooftree_host.plugin import HostPlugin
from rooftree_mounts.plugin import MountsPlugin
from rooftree_network.plugin import NetworkPlugin
from rooftree_os.plugin import OsPlugin
from rooftree_resolution.plugin import ResolutionPlugin
from rooftree_store.plugin import StorePlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.bus.private_bus import PrivateBus, services
from tests.contract.door import house_with_closed_rooms
from tests.contract.situations.os import Box
from tests.contract.situations.scene import CALLS, Scene, Situation
from tests.plugins.addons.house import SETTINGS, House
from tests.plugins.backups_vault.conftest import empty_vault  # noqa: F401  # a fixture
from tests.plugins.homeassistant.running_core import core_engine, short_folder
from tests.plugins.mounts.conftest import served_shares
from tests.plugins.os.haos import surroundings
from tests.rig.git_server import GitServer, serve_git

for path in sorted((Path(__file__).parent / "situations").glob("*.py")):
    importlib.import_module(f"tests.contract.situations.{path.stem}")

SLUG = re.compile("[0-9a-f]{8}")
FETCHING = {
    "docker.pull_image/1",
    "docker.build_image/1",
    "homeassistant.pull_image/1",
    "homeassistant.fetch_core/1",
    "os.download_bundle/1",
    "store.clone_repository/1",
    "store.fetch_repository_again/1",
}
"""Steps that fetch something from elsewhere."""

ON_HOME_ASSISTANT_OS = (
    "POST /os/update",
    "POST /os/boot-slot",
    "POST /os/config/",
    "POST /os/datadisk/",
    "POST /os/boards/raspberrypi/",
)
"""What routes begin with that are called on Home Assistant OS."""
ABOUT_VAULTS = "/kernel/v1/vaults/"
ABOUT_BACKUPS = ("/backups/", "/kernel/v1/backups/", ABOUT_VAULTS)
"""What paths begin with that are about backups."""
RESTIC = EntryPoint("restic", "rooftree_backups_vault.restic:Restic", "rooftree.vaults")
WITH_CORE = ("POST /core/", "POST /homeassistant/", "POST /kernel/v1/core/")
"""What routes begin with that are called where Core may be installed."""


@pytest.fixture(scope="module")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A git server on loopback."""
    with serve_git(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture(scope="module")
def bus_address() -> Iterator[str]:
    """A bus with a machine on it."""
    with tempfile.TemporaryDirectory(prefix="rooftree-") as folder, asyncio.Runner() as runner:
        bus = PrivateBus(Path(folder))
        runner.run(bus.start())
        machine = services(bus.address)
        runner.run(machine.__aenter__())
        yield bus.address
        runner.run(machine.__aexit__(None, None, None))
        runner.run(bus.kill())


@pytest.fixture
def vault(request: pytest.FixtureRequest) -> Path | None:
    """A vault with nothing in it, where the route is about vaults."""
    about_vaults = request.node.callspec.params["route"].partition(" ")[2].startswith(ABOUT_VAULTS)
    return request.getfixturevalue("empty_vault") if about_vaults else None


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    git_server: GitServer,
    bus_address: str,
    vault: Path | None,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Scene]:
    """All plugins that have such routes, with an engine in memory, a real git server and a machine's services on a bus:
    those of Home Assistant OS for whom needs them."""
    monkeypatch.setattr(steps, "STEADY_S", 0.0)
    monkeypatch.setattr(core_health, "ASK_EVERY_S", 0.02)
    engine, folder = FakeContainerEngine(), tmp_path
    board = InstalledPlugin("box", lambda: Box, group=GROUP)
    ours = [
        FakeEnginePlugin.serving(engine), StorePlugin, AddonsPlugin, HostPlugin, OsPlugin, SupervisorPlugin,
        ResolutionPlugin,
    ]  # fmt: skip
    settings = SETTINGS | {"plugins.host.bus": bus_address, "plugins.homeassistant.install": False}
    async with AsyncExitStack() as stack:
        if request.node.callspec.params["route"].startswith(ON_HOME_ASSISTANT_OS):
            around = await stack.enter_async_context(surroundings(tmp_path))
            settings |= around.settings
        if request.node.callspec.params["route"].startswith(WITH_CORE):
            folder = await stack.enter_async_context(short_folder())
            engine = await stack.enter_async_context(core_engine(folder))
            ours = [FakeEnginePlugin.serving(engine), *ours[1:], HomeAssistantPlugin]
        if request.node.callspec.params["route"].startswith("POST /network/"):
            await stack.enter_async_context(services(bus_address, machine="tests.bus.network_machine"))
            ours = [*ours, NetworkPlugin]
        served = None
        if request.node.callspec.params["route"].partition(" ")[2].startswith(ABOUT_BACKUPS):
            # Without who runs the checks: that there is no backup is told at a moment of its own.
            ours = [*(plugin for plugin in ours if plugin is not ResolutionPlugin), BackupsPlugin]
            ours = [*ours, BackupsVaultPlugin, RESTIC]
        if request.node.callspec.params["route"].partition(" ")[2].startswith("/mounts"):
            shares = served_shares(tmp_path, monkeypatch)
            served = await asyncio.to_thread(shares.__enter__)
            stack.push_async_callback(asyncio.to_thread, shares.__exit__, None, None, None)
            settings |= {"plugins.host.bus": "unix:path=/nonexistent/no-systemd"}
            ours = [*ours, MountsPlugin]
        running = running_system(folder, plugins=[*ours, board], settings=settings)
        system = await stack.enter_async_context(running)
        client = await stack.enter_async_context(Client.over_unix(system))
        yield Scene(House(system, client, engine), git_server, request.node.callspec.params["route"], served, vault)


async def starting_routes(folder: Path) -> dict[str, Route]:
    """Every route of every plugin that starts a job, by each of its paths."""
    async with house_with_closed_rooms(folder) as system:
        routes = [entry.route for entry in system.server.table.entries if answer_of(entry.route)[0]]
    return {f"{route.method} {path}": route for route in routes for path in route.paths}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Route]:
    """Those routes. A system that stops ends tasks of its plugins by their names, also of another one in this loop: so
    it is over before the first scene."""
    with asyncio.Runner() as runner:
        return runner.run(starting_routes(tmp_path_factory.mktemp("closed")))


def test_every_route_that_starts_a_job_has_its_situations(declared: dict[str, Route]) -> None:
    assert sorted(declared) == sorted(CALLS), "add a situation for each new route that starts a job"


SITUATIONS = [pytest.param(route, make, id=f"{route} {make.__name__}") for route in CALLS for make in CALLS[route]]


@pytest.mark.parametrize(("route", "make"), SITUATIONS)
async def test_plan_is_what_is_then_done_and_has_no_effect(
    scene: Scene, declared: dict[str, Route], route: str, make: Situation
) -> None:
    call = await make(scene)
    allowed, method = declared[route].access, declared[route].method
    before = await picture(scene.home)
    known = {record.id for record in await journaled(scene.home)}

    sent = {"body" if isinstance(call.body, bytes) else "json": call.body or {}, "headers": call.headers}
    plan = (await scene.home.client.request(method, f"{call.path}?plan=1", **sent)).data

    assert await picture(scene.home) == before
    answer = await scene.home.client.request(method, call.path, **sent)
    assert answer.status == 200, answer.text
    records = [record for record in await journaled(scene.home) if record.id not in known]
    assert len(records) == (plan["job"] is not None)
    assert [error for record in records for error in record.errors] == []
    assert plan["access"] == str(allowed) != ""
    plan = with_the_same_slug(plan, records)
    begun = [(record.name, record.reference) for record in records]
    assert [(plan["job"], plan["reference"])] == (begun or [(None, None)])
    done = [step for record in records for step in steps_of(record)]
    assert [(s["job"], s["job_reference"], s["kind"], s["subject"]) for s in plan["steps"]] == done
    for step in plan["steps"]:
        kind = KINDS[step["kind"]]
        assert (step["what"], step["downtime"], step["reversible"]) == (kind.what(), kind.downtime, kind.reversible())
        assert step["kind"] not in FETCHING or step["fetch_bytes"] != 0, "it fetches, and says that it does not"
    assert plan["downtime"] == any(step["downtime"] for step in plan["steps"])
    assert plan["reversible"] == all(step["reversible"] for step in plan["steps"])
    fetched = [step["fetch_bytes"] for step in plan["steps"]]
    assert plan["fetch_bytes"] == (None if None in fetched else sum(fetched))


def with_the_same_slug(plan: dict[str, Any], records: list[JobRecord]) -> dict[str, Any]:
    """A plan as it is for the slug that the call was given then: each call that makes a backup has one of its own."""
    planned, begun = plan["reference"], records[0].reference if records else None
    if planned == begun or not isinstance(planned, str) or begun is None or not SLUG.fullmatch(planned):
        return plan
    text = json.dumps(plan)
    replaced: dict[str, Any] = json.loads(text.replace(planned, begun))
    return replaced


async def journaled(home: House) -> list[JobRecord]:
    """Every job that the journal knows, when all have ended."""
    async with asyncio.timeout(20):
        while any(not info.done for info in home.system.jobs.listing()):
            await asyncio.sleep(0.01)
    rows = await home.system.database.read(lambda c: c.execute("SELECT id FROM job ORDER BY sequence").fetchall())
    journal = Journal(home.system.database)
    found = [await journal.find(job_id) for (job_id,) in rows]
    return [record for record in found if record is not None]


def steps_of(record: JobRecord) -> list[tuple[str, str | None, str, str | None]]:
    """The steps of a job that has run, in order: each one's job, what that acts on, its kind and subject."""
    listed = []
    for number, step in enumerate(record.steps):
        assert step.state == "done"
        owner: Any = record
        below = [child for child in record.children if child.first <= number < child.end]
        while inner := [child for child in below if child.parent == owner.id]:
            (owner,) = inner
        listed.append((owner.name, owner.reference, step.kind, step.subject))
    return listed


async def picture(home: House) -> Any:
    """Everything that a call could change: documents, journal and audit log, the engine, files, problems, jobs."""
    await home.quiet()
    tables = ("document", "damaged_document", "job", "step", "audit")
    rows = {
        table: await home.system.database.read(lambda c, t=table: c.execute(f"SELECT * FROM {t}").fetchall())  # type: ignore[misc]
        for table in tables
    }
    engine = home.engine
    looks = {"image", "images", "container", "containers", "info", "network", "stats", "logs"}
    return {
        **rows,
        "changes asked of the engine": [call for call in engine.calls if call[0] not in looks],
        "images": {name: image.id for name, image in engine.images.items()},
        "containers": await engine.containers(),
        "files": await asyncio.to_thread(_files, home.data),
        "problems": list(home.system.problems),
        "jobs": home.system.jobs.listing(),
    }


def _files(data: Path) -> dict[str, str]:
    """What lies in the data folder, but the database and its copies, which are compared by their rows."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(data.rglob("*"))
        if not path.name.startswith("rooftree")
    }
