"""What can be done with Core: started, stopped, restarted, rebuilt, in safe mode, looked at."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import HomeAssistantRebuildOptions, HomeAssistantRestartOptions, HomeAssistantStopOptions

from rooftree.interfaces.containers import Container, ContainerStatus, DataPath, EngineRefused
from rooftree.interfaces.hooks import objections_to_host_end
from rooftree.jobs import execution
from rooftree.principal import Principal, Role
from rooftree.testing import check_step, token_for
from rooftree.testing.containers import FakeImage
from rooftree_containers import ContainerState, Desired
from rooftree_containers.lifetime import LABEL_TOKEN
from rooftree_homeassistant import core_check, core_health
from rooftree_homeassistant.core_steps import EnterSafeMode
from rooftree_homeassistant.home_assistant import CONTAINER, NAME, CoreContainer
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse, core_house
from tests.plugins.homeassistant.running_core import CoreEngine, running_core
from tests.rig.waiting import until


async def container(house: CoreHouse) -> Container:
    shown = await house.shown()
    assert shown is not None
    return shown


def installed(house: CoreHouse) -> CoreContainer:
    assert house.core.installed is not None
    return house.core.installed


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "rebuild", "check"])
async def test_core_that_is_not_installed_is_said_to_be_so(home: CoreHouse, verb: str) -> None:
    answer = await home.call(verb)

    assert answer.status == 404
    assert "install = false" in answer.message, "which is so in this house"


async def test_container_is_told_what_core_looks_for(lived_in: CoreHouse, behind: CoreEngine) -> None:
    spec = behind.spec(CONTAINER)
    targets = {mount.target: (mount.source, mount.read_only, mount.propagation) for mount in spec.mounts}

    assert (spec.network, spec.privileged, spec.init, spec.hostname) == ("host", True, False, "homeassistant")
    assert (spec.oom_score_adjust, spec.stop_timeout_s, spec.tmpfs) == (-300, 260, ("/tmp",))
    assert "seccomp=unconfined" in spec.security_options
    assert spec.environment["SUPERVISOR"] == spec.environment["HASSIO"] == "172.30.32.2"
    assert len(spec.environment["SUPERVISOR_TOKEN"]) == 112
    assert spec.environment["SUPERVISOR_TOKEN"] == spec.environment["HASSIO_TOKEN"]
    assert spec.environment["SUPERVISOR_CORE_API_SOCKET"] == "/run/supervisor/core.sock"
    assert spec.extra_hosts["supervisor"] == "172.30.32.2"
    assert targets["/config"] == (DataPath("homeassistant"), False, "rprivate")
    assert targets["/ssl"] == (DataPath("ssl"), True, "rprivate")
    assert targets["/share"] == (DataPath("share"), False, "rslave")
    assert targets["/media"] == (DataPath("media"), False, "rslave")
    assert targets["/run/supervisor"] == (DataPath("run/core"), False, "rprivate")
    assert targets["/dev"][1]
    shown = await container(lived_in)
    data = lived_in.system.data.path
    assert (data / "cid_files" / "homeassistant.cid").read_text() == shown.id
    assert (data / "run" / "core").stat().st_mode & 0o777 == 0o700  # whoever gets at the socket is its supervisor


@pytest.mark.parametrize(
    ("told", "given_s"),
    [("30500", 50), ("0", 20), ("86400000", 1820), ("soon", 260), ("-1", 260), ("", 260)],
)
async def test_core_gets_the_time_to_end_that_its_image_asks_for(
    place: Path, behind: CoreEngine, told: str, given_s: int
) -> None:
    async with core_house(place, behind) as house:
        image = FakeImage(environment={"S6_SERVICES_GRACETIME": told})
        behind.publish_image(house.image(OLD), image)
    async with running_core(place, behind) as house:
        assert behind.spec(CONTAINER).stop_timeout_s == given_s
        await house.call("stop")

    assert behind.given_to_end_s == [given_s]


async def test_version_without_a_socket_is_told_of_none(home: CoreHouse) -> None:
    await home.install("2026.3.4")
    managed = home.core.containers.domain.get("homeassistant")

    spec = await managed.specification("token")

    assert "SUPERVISOR_CORE_API_SOCKET" not in spec.environment
    assert "/run/supervisor" not in {mount.target for mount in spec.mounts}


async def test_cores_token_is_an_administrators_and_ends_with_its_container(
    lived_in: CoreHouse, behind: CoreEngine
) -> None:
    token = behind.spec(CONTAINER).environment["SUPERVISOR_TOKEN"]
    principal = lived_in.system.tokens.principal(token)

    assert principal is not None
    assert (principal.kind, principal.id, principal.role) == ("core", "homeassistant", "admin")

    await lived_in.call("stop")

    assert lived_in.system.tokens.principal(token) is None


async def test_start_answers_when_core_has_come_up(lived_in: CoreHouse, behind: CoreEngine) -> None:
    await lived_in.call("stop")
    behind.traits[OLD] = {"state": "STARTING"}
    starting = asyncio.create_task(lived_in.call("start"))
    await behind.core_listens()
    await behind.core.is_told("request", path="/api/core/state")

    assert not starting.done()
    await behind.core.become(state="RUNNING")

    assert (await starting).data == {}
    assert installed(lived_in).desired is Desired.STARTED


async def test_start_of_what_runs_is_fine_and_changes_nothing(lived_in: CoreHouse) -> None:
    before = await container(lived_in)

    assert (await lived_in.call("start")).data == {}

    assert await container(lived_in) == before


async def test_core_that_ends_at_its_start_is_told_and_its_container_stays_for_its_log(
    lived_in: CoreHouse, behind: CoreEngine
) -> None:
    await lived_in.call("options", watchdog=False)
    await lived_in.call("stop")
    behind.release(lived_in.core.image, OLD, crashes=3)
    behind.load_image(lived_in.image(OLD), behind.registry[lived_in.image(OLD)])

    answer = await lived_in.call("start")

    assert answer.status == 400
    assert "it ended with exit code 3" in answer.message
    assert "error_key" not in answer.envelope
    assert (await container(lived_in)).exit_code == 3
    assert installed(lived_in).desired is Desired.STARTED


@pytest.mark.parametrize("verb", ["start", "check"])
@pytest.mark.parametrize("privileged", [True, False])
async def test_engine_that_refuses_core_is_told_of_with_what_may_help(
    place: Path, behind: CoreEngine, privileged: bool, verb: str
) -> None:
    async with running_core(place, behind, settings={"plugins.homeassistant.privileged": privileged}) as house:
        await house.call("stop")
        behind.fail("start", EngineRefused("runc create failed"))

        answer = await house.call(verb)

        assert answer.message.startswith("runc create failed")
        assert ("privileged = false" in answer.message) == privileged
        assert behind.spec(CONTAINER).privileged == privileged
        assert behind.spec(CONTAINER).oom_score_adjust == (-300 if privileged else 0)


async def test_core_that_never_answers_is_given_up_in_time(
    lived_in: CoreHouse, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_health, "FIRST_ANSWER_S", 0.3)
    await lived_in.call("stop")
    behind.traits[OLD] = {"listens_on_socket": False}

    answer = await lived_in.call("start")

    assert answer.status == 400
    assert "its API was not there within" in answer.message
    assert (await container(lived_in)).status is ContainerStatus.RUNNING


async def test_migration_is_waited_for_however_long_it_takes(
    lived_in: CoreHouse, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_health, "START_S", 0.3)
    await lived_in.call("stop")
    behind.traits[OLD] = {"state": "NOT_RUNNING", "migration": "offline"}
    starting = asyncio.create_task(lived_in.call("start"))
    await behind.core_listens()
    told = 0

    async def asked_often() -> bool:
        nonlocal told
        told = len(await behind.core.told("request", path="/api/core/state"))
        return told > 30  # which takes longer than a start may

    await until(asked_often, within_s=10, what="thirty questions")
    assert not starting.done()
    await behind.core.become(state="RUNNING", migration=None)

    assert (await starting).data == {}


async def test_stop_is_not_kept_waiting_by_a_start_that_hangs(lived_in: CoreHouse, behind: CoreEngine) -> None:
    await lived_in.call("stop")
    behind.traits[OLD] = {"state": "STARTING"}
    starting = asyncio.create_task(lived_in.call("start"))
    await behind.core_listens()

    stopped = await lived_in.call("stop")
    started = await starting

    assert stopped.data == {}
    assert started.status == 409
    assert "to be ended again" in started.message
    assert (await container(lived_in)).status is ContainerStatus.EXITED


@pytest.mark.parametrize("verb", ["stop", "restart", "rebuild", "update"])
async def test_core_that_changes_its_database_is_not_ended(lived_in: CoreHouse, behind: CoreEngine, verb: str) -> None:
    before = await container(lived_in)
    await behind.core.become(migration="offline")

    answer = await lived_in.call(verb)

    assert answer.status == 503
    assert "changes its database" in answer.message
    assert "error_key" not in answer.envelope
    assert await container(lived_in) == before


@pytest.mark.parametrize("verb", ["stop", "restart", "rebuild"])
async def test_core_that_changes_its_database_is_stopped_by_force(
    lived_in: CoreHouse, behind: CoreEngine, verb: str
) -> None:
    before = await container(lived_in)
    await behind.core.become(migration="offline")

    answer = await lived_in.call(verb, force=True)

    assert answer.data == {}
    after = await container(lived_in)
    assert (after.started_at, after.status) != (before.started_at, before.status)


async def test_host_is_not_ended_without_a_word_while_core_changes_its_database(
    lived_in: CoreHouse, behind: CoreEngine
) -> None:
    before = await lived_in.hook(objections_to_host_end)
    await behind.core.become(migration="offline")
    meanwhile = await lived_in.hook(objections_to_host_end)

    assert before == []
    assert len(meanwhile) == 1
    assert "changes its database" in meanwhile[0]


async def test_restart_uses_the_container_again_and_rebuild_makes_a_fresh_one(lived_in: CoreHouse) -> None:
    first = await container(lived_in)

    await lived_in.call("restart")
    second = await container(lived_in)
    await lived_in.call("rebuild")
    third = await container(lived_in)

    assert (second.id, second.started_at) != (first.id, first.started_at)
    assert second.id == first.id
    assert third.id != second.id
    assert third.status is ContainerStatus.RUNNING


async def test_restart_that_is_seen_ended_in_the_middle_goes_on_with_a_token_that_works(
    lived_in: CoreHouse, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hears late that the container ended ends its token, between the steps that keep and that start it."""
    lifetimes = lived_in.core.containers.lifetimes
    start, at_start = behind.start, []

    async def hear_late(place: str) -> None:
        if place == "step:containers.create_container/1:done":
            await lifetimes.end_stale_tokens(NAME, await lived_in.shown(), lifetimes.all_tokens())

    async def watched(name: str) -> None:
        at_start.append(list(lived_in.system.tokens.known("core", NAME)))
        await start(name)

    monkeypatch.setattr(execution, "reach", hear_late)
    monkeypatch.setattr(behind, "start", watched)

    await lived_in.call("restart")

    assert at_start == [[(await container(lived_in)).labels[LABEL_TOKEN]]]


@pytest.mark.parametrize("verb", ["restart", "rebuild"])
async def test_safe_mode_is_told_core_by_its_file(lived_in: CoreHouse, behind: CoreEngine, verb: str) -> None:
    await lived_in.call(verb, safe_mode=True)
    in_safe_mode = await lived_in.config_of_core()
    await lived_in.call(verb)
    afterwards = await lived_in.config_of_core()

    assert (in_safe_mode["safe_mode"], afterwards["safe_mode"]) == (True, False)


@pytest.mark.parametrize("was_there", [False, True])
async def test_safe_mode_is_taken_back_unless_it_was_there_before(home: CoreHouse, was_there: bool) -> None:
    file = home.config / "safe-mode"
    if was_there:
        await asyncio.to_thread(file.parent.mkdir, parents=True)
        await asyncio.to_thread(file.touch)

    async def is_there() -> bool:
        return await asyncio.to_thread(file.exists)

    await check_step(home.system, EnterSafeMode(), is_there)

    assert await is_there()


async def test_option_that_counts_from_the_next_start_says_so_until_then(
    lived_in: CoreHouse, behind: CoreEngine
) -> None:
    await lived_in.call("options", duplicate_log_file=True)
    said = lived_in.problem("restart_due")
    await lived_in.call("restart")

    assert said is not None
    assert "log" in said.message
    assert lived_in.problem("restart_due") is None
    assert behind.spec(CONTAINER).environment["HA_DUPLICATE_LOG_FILE"] == "1"


async def test_another_image_is_taken_by_a_rebuild_which_is_said_until_then(
    lived_in: CoreHouse, behind: CoreEngine
) -> None:
    behind.release("ghcr.io/someone/core", OLD)
    await lived_in.call("options", image="ghcr.io/someone/core")
    said = lived_in.problem("rebuild_due")

    answer = await lived_in.call("rebuild")

    assert answer.data == {}
    assert said is not None
    assert "ghcr.io/someone/core" in said.message
    assert lived_in.problem("rebuild_due") is None
    assert (await container(lived_in)).image == f"ghcr.io/someone/core:{OLD}"
    assert installed(lived_in).probation is not None


async def test_stats_are_those_of_the_container_and_need_one_that_runs(lived_in: CoreHouse) -> None:
    running = await lived_in.client.get("/core/stats")
    await lived_in.call("stop")
    stopped = await lived_in.client.get("/homeassistant/stats")

    assert running.data["memory_usage"] == 1024
    assert (stopped.status, stopped.envelope["error_key"]) == (400, "homeassistant_not_running_error")


@pytest.mark.parametrize("path", ["/core/logs", "/homeassistant/logs", "/core/logs/latest"])
async def test_log_is_what_the_container_wrote(lived_in: CoreHouse, path: str) -> None:
    assert f"Core {OLD}" in (await lived_in.client.get(path)).text


async def test_log_is_read_by_time_and_paged_back_by_cursor(lived_in: CoreHouse, behind: CoreEngine) -> None:
    behind.write(CONTAINER, *(f"line {number}" for number in range(9)))

    async def page(wanted: str) -> tuple[list[str], str]:
        answer = await lived_in.client.get("/core/logs", headers={"Range": wanted})
        return answer.text.splitlines(), answer.headers["X-First-Cursor"]

    newest, cursor = await page("entries=:-3:")
    older, _ = await page(f"entries={cursor}:-4:4")
    by_time, _ = await page("realtime=0000000000000000:4000000000:1000")  # as Core's assistant writes it

    assert (newest, older) == (
        [f"line {number}" for number in range(5, 9)],
        [f"line {number}" for number in range(1, 5)],
    )
    assert by_time == [f"Core {OLD}", *(f"line {number}" for number in range(9))]


async def test_log_of_a_crash_is_there_when_its_container_has_made_room_for_a_fresh_one(
    lived_in: CoreHouse, behind: CoreEngine
) -> None:
    await lived_in.call("options", watchdog=False)
    behind.write(CONTAINER, "no such device: é")
    await behind.crash_core(9)
    await lived_in.until_state(ContainerState.ERROR)

    assert (await lived_in.call("rebuild")).status == 200

    assert (await lived_in.client.get("/core/logs")).text.splitlines()[-2:] == ["no such device: é", f"Core {OLD}"]
    assert (await lived_in.client.get("/core/logs/latest")).text.splitlines() == [f"Core {OLD}"]


async def test_core_that_crashes_is_brought_back(lived_in: CoreHouse, behind: CoreEngine) -> None:
    before = await container(lived_in)

    await behind.crash_core(9)
    await lived_in.comes_true("its return", lambda: not lived_in.core.containers.watchdog.watching)

    after = await container(lived_in)
    assert (after.id, after.status) == (before.id, ContainerStatus.RUNNING)
    assert after.started_at != before.started_at


async def test_core_that_crashes_is_left_where_its_user_wants_no_watchdog(
    lived_in: CoreHouse, behind: CoreEngine
) -> None:
    await lived_in.call("options", watchdog=False)

    await behind.crash_core(9)
    await lived_in.until_state(ContainerState.ERROR)

    assert not lived_in.core.containers.watchdog.watching


async def test_api_that_is_missed_twice_is_a_restart(lived_in: CoreHouse, behind: CoreEngine) -> None:
    before = await container(lived_in)
    await behind.core.become(fails=500)
    watchdog = lived_in.core.containers.watchdog

    await watchdog.ask()
    after_one = await container(lived_in)
    await watchdog.ask()
    await lived_in.comes_true("a restart", lambda: not watchdog.restarting)

    assert after_one == before
    assert (await container(lived_in)).started_at != before.started_at


async def test_start_that_takes_its_time_is_no_api_that_is_missed(lived_in: CoreHouse, behind: CoreEngine) -> None:
    await lived_in.call("stop")
    behind.traits[OLD] = {"fails": 500}
    starting = asyncio.create_task(lived_in.call("start"))
    health = lived_in.system.services.get(core_health.CORE_HEALTH)

    async def is_awaited() -> bool:
        return health._awaited > 0

    await until(is_awaited, within_s=10, what="the wait for Core")
    watchdog, before = lived_in.core.containers.watchdog, await container(lived_in)

    for _ in range(3):
        await watchdog.ask()
    is_left = not watchdog.restarting
    await behind.core.become(fails=None)

    assert (await starting).data == {}
    assert is_left
    assert await container(lived_in) == before


async def test_after_restarts_that_lead_to_nothing_core_is_started_in_safe_mode_and_then_left(
    lived_in: CoreHouse, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_health, "FIRST_ANSWER_S", 0.1)
    behind.traits[OLD] = {"fails": 500}
    await behind.core.become(fails=500)
    watchdog, safe_mode = lived_in.core.containers.watchdog, []

    for _ in range(core_health.MOST_REVIVALS + 2):
        before = await container(lived_in)
        await watchdog.ask()
        await watchdog.ask()
        await lived_in.comes_true("a restart", lambda: not watchdog.restarting)
        after = await container(lived_in)
        safe_mode.append((after.started_at != before.started_at, after.id != before.id))

    assert safe_mode == [*[(True, False)] * core_health.MOST_REVIVALS, (True, True), (False, False)]


# --- the check of the configuration -----------------------------------------------------------------------------------


CHECK = "homeassistant_check"


def check_says(engine: CoreEngine, image: str, exit_code: int, *lines: str) -> None:
    """Let Core's check end like that."""
    engine.images[image] = FakeImage(exit_code=exit_code, prints=lines, id=engine.images[image].id)


async def test_check_runs_cores_own_beside_it_and_leaves_nothing(lived_in: CoreHouse, behind: CoreEngine) -> None:
    before = await container(lived_in)
    check_says(behind, lived_in.image(OLD), 0, "Testing configuration at /config")

    answer = await lived_in.call("check")

    assert answer.data == {}
    assert ("create", CHECK) in behind.calls
    assert await behind.container(CHECK) is None
    assert await container(lived_in) == before


@pytest.mark.parametrize(
    ("exit_code", "line"),
    [(1, "\033[31mGeneral Errors:\033[0m"), (0, "ERROR:homeassistant.util.yaml.loader:mapping values are not allowed")],
)
async def test_check_that_finds_something_answers_with_it(
    lived_in: CoreHouse, behind: CoreEngine, exit_code: int, line: str
) -> None:
    check_says(behind, lived_in.image(OLD), exit_code, line)

    answer = await lived_in.call("check")

    assert answer.status == 400
    assert answer.message == line.replace("\033[31m", "").replace("\033[0m", "")
    assert await behind.container(CHECK) is None


async def test_check_that_has_no_end_is_ended(
    lived_in: CoreHouse, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_check, "WITHIN_S", 0.3)
    behind.images[lived_in.image(OLD)] = FakeImage(prints=("Testing configuration at /config",))

    answer = await lived_in.call("check")

    assert (answer.status, answer.message) == (400, "The check did not end within 0.005 minutes")
    assert await behind.container(CHECK) is None


async def test_check_that_somebody_ends_is_said_to_have_been(lived_in: CoreHouse, behind: CoreEngine) -> None:
    behind.images[lived_in.image(OLD)] = FakeImage(prints=("Testing configuration at /config",))
    checking = asyncio.create_task(lived_in.call("check"))

    async def is_checked() -> bool:
        shown = await behind.container(CHECK)
        return shown is not None and shown.status is ContainerStatus.RUNNING

    await until(is_checked, within_s=10, what="the check")
    await behind.remove(CHECK)
    answer = await checking

    assert answer.status == 400
    assert "ended by somebody" in answer.message


async def test_official_client_does_it_all(lived_in: CoreHouse, behind: CoreEngine) -> None:
    token = await token_for(lived_in.system, Principal("cli", "cli", Role.ADMIN))
    async with aiohttp.ClientSession() as session:
        client = SupervisorClient(f"http://127.0.0.1:{lived_in.system.port}", token, session=session).homeassistant

        await client.restart(HomeAssistantRestartOptions(safe_mode=True))
        await client.rebuild(HomeAssistantRebuildOptions(force=True))
        stats = await client.stats()
        await client.stop(HomeAssistantStopOptions(force=False))
        await client.start()

    assert stats.memory_usage == 1024
    assert (await container(lived_in)).status is ContainerStatus.RUNNING


BODIES: list[tuple[str, dict[str, Any]]] = [
    ("stop", {"force": "yes"}),
    ("restart", {"safe": True}),
    ("rebuild", {"safe_mode": 1}),
    ("update", {"version": "a/b"}),
    ("update", {"version": NEW, "backup": "no"}),
]


@pytest.mark.parametrize(("verb", "body"), BODIES)
async def test_body_that_does_not_fit_is_refused_and_nothing_happens(
    lived_in: CoreHouse, verb: str, body: dict[str, Any]
) -> None:
    before = await container(lived_in)

    answer = await lived_in.call(verb, **body)

    assert answer.status == 400
    assert next(iter(body)) in answer.message or "backup" in answer.message
    assert await container(lived_in) == before
