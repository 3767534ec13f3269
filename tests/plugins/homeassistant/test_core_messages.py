"""What Core is told of what happens here, as a stand-in for it hears it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohasupervisor.models import Issue as ClientIssue
from aiohasupervisor.models import Job as ClientJob

from rooftree import Event, Failed, JobInfo, Kernel, Plugin, Problem, Run, Step, job, step
from rooftree.clock import MACHINE, Clock
from rooftree.interfaces.addons import AddonStateChanged
from rooftree.interfaces.backups import BackupLocationChanged
from rooftree.interfaces.core import CORE, CoreLost, CoreUnavailable, UserLoggedOut
from rooftree.interfaces.hardware import Device, DeviceAdded, DeviceRemoved
from rooftree.interfaces.network import InternetChanged
from rooftree.interfaces.resolution import Issue, IssueChanged, IssueRemoved, Suggestion
from rooftree.interfaces.store import StoreReloaded
from rooftree.interfaces.versions import VersionsChanged
from rooftree.testing import FakeClock
from rooftree_homeassistant.core_users import ActiveUsers
from rooftree_homeassistant.job_messages import JobMessages
from rooftree_homeassistant.outbox import MOST_WAITING, Outbox
from rooftree_resolution.plugin import ResolutionPlugin
from tests.plugins.homeassistant.linked import Linked, linked
from tests.rig.core_process import CoreProcess, core_process
from tests.rig.waiting import until


async def tell(link: Linked, *events: Event) -> None:
    """These happened."""
    for event in events:
        link.system.bus.publish(event)
    await link.system.bus.drained()


@pytest.fixture
async def core(tmp_path: Path) -> Any:
    async with core_process(tmp_path / "core") as process:
        yield process


@pytest.fixture
async def link(tmp_path: Path, core: CoreProcess) -> Any:
    """A system whose Core is there, and was told that it runs."""
    async with linked(tmp_path) as running:
        running.over_socket(core)
        await core.is_sent("supervisor_update", update_key="supervisor")
        yield running


async def since_start(core: CoreProcess) -> list[Mapping[str, Any]]:
    """What Core was told after it was told that we run; what is sent to mark the end of that left out."""
    events = await core.events()
    return [data for data in events[2:] if "marker" not in data.get("slug", "")]


async def all_told(link: Linked, core: CoreProcess) -> list[Mapping[str, Any]]:
    """The same, once everything has been sent that happened so far."""
    marker = f"marker {next(_markers)}"
    await tell(link, AddonStateChanged(marker, "started"))
    await core.is_sent("addon", slug=marker)
    return await since_start(core)


_markers = count()


# --- moments ----------------------------------------------------------------------------------------------------------


async def test_core_is_told_that_we_run(link: Linked, core: CoreProcess) -> None:
    assert await core.events() == [
        {"event": "supervisor_update", "update_key": "info", "data": {"state": "running"}},
        {"event": "supervisor_update", "update_key": "supervisor", "data": {"startup": "complete"}},
    ]


async def test_core_is_told_of_a_freeze_and_not_that_we_started_again(link: Linked, core: CoreProcess) -> None:
    link.system.freeze("backup")
    await link.system.bus.drained()
    await core.is_sent("supervisor_update", update_key="info", data={"state": "freeze"})
    link.system.thaw("backup")

    assert [event["data"] for event in await all_told(link, core)][-1] == {"state": "running"}


async def test_what_happens_before_we_run_waits_until_then(tmp_path: Path, core: CoreProcess) -> None:
    class Early(Plugin):
        name = "early"
        requires = (CORE,)

        async def setup(self, kernel: Kernel) -> None:
            kernel.publish(AddonStateChanged("local_lamp", "startup"))
            kernel.publish(AddonStateChanged("local_lamp", "started"))

    async with linked(tmp_path, plugins=[Early]) as link:
        link.over_socket(core)

        await core.is_sent("supervisor_update", update_key="supervisor")
        assert [event["event"] for event in await core.events()] == ["addon", "supervisor_update", "supervisor_update"]


async def test_nothing_is_told_once_we_stop(tmp_path: Path, core: CoreProcess) -> None:
    class Last(Plugin):
        name = "last"
        requires = (CORE,)

        async def setup(self, kernel: Kernel) -> None:
            self.kernel = kernel

        async def stop(self) -> None:
            self.kernel.publish(AddonStateChanged("local_lamp", "stopped"))
            for _ in range(5):  # as long as that would take to be told
                await self.kernel.service(CORE).command("get_config")

    async with linked(tmp_path, plugins=[Last]) as link:
        link.over_socket(core)
        await core.is_sent("supervisor_update", update_key="supervisor")

    await core.is_told("disconnected")
    assert len(await core.told("command", type="get_config")) == 5
    assert await since_start(core) == []


async def test_what_changed_while_core_was_away_is_told_when_it_is_back_the_latest_of_each(
    link: Linked, core: CoreProcess
) -> None:
    await core.kill()
    await link.is_told(CoreLost)
    await tell(
        link,
        AddonStateChanged("local_lamp", "stopped"),
        AddonStateChanged("local_bell", "error"),
        StoreReloaded(("b", "a")),
        StoreReloaded(("c",)),
        AddonStateChanged("local_lamp", "started"),
        InternetChanged("host", None),
        InternetChanged("supervisor", False),
        InternetChanged("supervisor", True),
    )

    await core.start()
    link.core_client.look_again()

    await core.is_sent("supervisor_update", data={"supervisor_internet": True})
    assert await core.events() == [
        {"event": "addon", "slug": "local_bell", "state": "error"},
        {"event": "store_reloaded", "data": {"repositories": ["a", "b"]}},
        {"event": "store_reloaded", "data": {"repositories": ["c"]}},
        {"event": "addon", "slug": "local_lamp", "state": "started"},
        {"event": "supervisor_update", "update_key": "network", "data": {"host_internet": None}},
        {"event": "supervisor_update", "update_key": "network", "data": {"supervisor_internet": True}},
    ]


class HardOfHearing:
    """A Core that is there, and takes nothing in at first.

    :param deaf: how often
    """

    answers = True

    def __init__(self, deaf: int) -> None:
        self.deaf = deaf
        self.meanwhile: Callable[[], None] = lambda: None
        self.told: list[Any] = []
        self.heard = asyncio.Event()

    async def command(self, kind: str, /, *, within_s: float, data: Any) -> None:
        if self.deaf > 0:
            self.deaf -= 1
            self.meanwhile()
            raise CoreUnavailable("not now")
        self.told.append(data)
        self.heard.set()


class Pauses(Clock):
    """Lasts as long as the test wants."""

    def __init__(self) -> None:
        self.begun, self.over = asyncio.Event(), asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.begun.set()
        await self.over.wait()


async def test_message_that_core_does_not_take_in_is_told_again_unless_there_is_a_later_one() -> None:
    clock, core = Pauses(), HardOfHearing(1)
    outbox = Outbox(core, clock)  # type: ignore[arg-type]
    outbox.put(("a",), {"event": "a"})
    outbox.put(("b",), {"event": "b"})
    core.meanwhile = lambda: outbox.put(("a",), {"event": "a", "later": True})
    outbox.open()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        sending = group.create_task(outbox.run())
        await clock.begun.wait()
        assert core.told == []
        clock.over.set()
        while len(core.told) < 2:
            await core.heard.wait()
            core.heard.clear()
        sending.cancel()

    assert core.told == [{"event": "b"}, {"event": "a", "later": True}]


async def test_what_core_did_not_take_in_is_told_before_what_came_later() -> None:
    clock, core = Pauses(), HardOfHearing(1)
    clock.over.set()
    outbox = Outbox(core, clock)  # type: ignore[arg-type]
    outbox.put(("a",), {"event": "a"})
    outbox.put(("b",), {"event": "b"})
    outbox.open()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        sending = group.create_task(outbox.run())
        while len(core.told) < 2:
            await core.heard.wait()
            core.heard.clear()
        sending.cancel()

    assert core.told == [{"event": "a"}, {"event": "b"}]


async def test_message_of_the_moment_in_which_the_system_stops_is_not_sent_and_ends_nothing() -> None:
    core = HardOfHearing(0)
    outbox = Outbox(core, MACHINE)  # type: ignore[arg-type]
    outbox.open()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        sending = group.create_task(outbox.run())
        await asyncio.sleep(0)
        outbox.put(("a",), {"event": "a"})
        outbox.close()
        await asyncio.sleep(0)
        outbox.open()
        outbox.put(("b",), {"event": "b"})
        await core.heard.wait()
        sending.cancel()

    assert core.told == [{"event": "b"}]


async def test_oldest_are_dropped_when_too_many_wait() -> None:
    class Away:
        answers = False

    outbox = Outbox(Away(), MACHINE)  # type: ignore[arg-type]
    for number in range(MOST_WAITING + 10):
        outbox.put(("job", str(number)), {"number": number})

    assert [message["number"] for message in outbox._waiting.values()] == list(range(10, MOST_WAITING + 10))


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "keys"),
    [(("core",), ["core"]), (("os",), ["os"]), (("core", "os", "services"), ["core", "os", "supervisor"])],
)
async def test_versions_that_changed_are_told_of_what_they_are_of(
    link: Linked, core: CoreProcess, parts: tuple[str, ...], keys: list[str]
) -> None:
    await tell(link, VersionsChanged(parts))

    assert await all_told(link, core) == [{"event": "supervisor_update", "update_key": key, "data": {}} for key in keys]


async def test_reasons_are_told_when_they_come_and_when_they_go(link: Linked, core: CoreProcess) -> None:
    problems = link.system.problems
    for kind, severity in (("privileged", "unhealthy"), ("free_space", "issue"), ("os", "unsupported"),
                           ("apparmor", "unsupported")):  # fmt: skip
        problems.report(Problem(kind, severity=severity))  # type: ignore[arg-type]
        await all_told(link, core)
    for kind in ("privileged", "os", "apparmor"):
        problems.clear(kind)
        await all_told(link, core)
    problems.clear("free_space")
    await link.system.bus.drained()

    assert await all_told(link, core) == [
        {"event": "health_changed", "data": {"healthy": False, "unhealthy_reasons": ["privileged"]}},
        {"event": "supported_changed", "data": {"supported": False, "unsupported_reasons": ["os"]}},
        {"event": "supported_changed", "data": {"supported": False, "unsupported_reasons": ["apparmor", "os"]}},
        {"event": "health_changed", "data": {"healthy": True, "unhealthy_reasons": []}},
        {"event": "supported_changed", "data": {"supported": False, "unsupported_reasons": ["apparmor"]}},
        {"event": "supported_changed", "data": {"supported": True, "unsupported_reasons": None}},
    ]


async def test_issue_has_what_core_s_client_reads(link: Linked, core: CoreProcess) -> None:
    facts: dict[str, Any] = {"context": "addon", "reference": "local_lamp", "reference_extra": {"port": 80}}
    issue = Issue(type="app_port_conflict", uuid="a" * 32, **facts)
    suggestion = Suggestion(type="execute_start", uuid="b" * 32, **facts)
    await tell(link, IssueChanged(issue, (suggestion,)))
    changed = (await all_told(link, core))[0]
    await tell(link, IssueRemoved(issue))

    removed = (await all_told(link, core))[1]

    assert changed == {
        "event": "issue_changed",
        "data": {
            "type": "app_port_conflict",
            "uuid": "a" * 32,
            "suggestions": [{"type": "execute_start", "uuid": "b" * 32, **facts}],
            **facts,
        },
    }
    assert removed == {"event": "issue_removed", "data": {"type": "app_port_conflict", "uuid": "a" * 32, **facts}}
    for message in (changed, removed):
        assert ClientIssue.from_dict(message["data"]).uuid.hex == "a" * 32


async def test_problem_is_an_issue_that_core_is_told_of(tmp_path: Path, core: CoreProcess) -> None:
    async with linked(tmp_path, plugins=[ResolutionPlugin]) as link:
        link.over_socket(core)
        link.system.problems.report(Problem("boot_fail", "addon", "local_lamp", suggestions=("execute_start",)))

        data = (await core.is_sent("issue_changed"))["data"]
        assert (data["type"], data["context"], data["reference"]) == ("boot_fail", "addon", "local_lamp")
        assert [suggestion["type"] for suggestion in data["suggestions"]] == ["execute_start"]
        assert ClientIssue.from_dict(data).context == "addon"

        link.system.problems.clear("boot_fail", "addon", "local_lamp")
        assert (await core.is_sent("issue_removed"))["data"]["uuid"] == data["uuid"]


# --- jobs -------------------------------------------------------------------------------------------------------------


@step("lamps.light/1")
class Light(Step):
    """Light a lamp."""

    lamp: str

    async def do(self, run: Run) -> None:
        run.progress(1, 2)

    async def undo(self, before: None) -> None: ...


@step("lamps.fall/1")
class Fall(Step):
    """Fall down."""

    async def do(self) -> None:
        raise Failed("It is broken", lamp="cellar")

    async def undo(self, before: None) -> None: ...


@job("light_lamp", reference="lamp")
async def light_lamp(lamp: str) -> list[Any]:
    return [Light(lamp)]


@job("light_lamps")
async def light_lamps() -> list[Any]:
    return [light_lamp(lamp="hall"), light_lamp(lamp="cellar")]


@job("drop_lamp", reference="lamp")
async def drop_lamp(lamp: str) -> list[Any]:
    return [Light(lamp), Fall()]


class LampPlugin(Plugin):
    name = "lamps"


async def job_messages(tmp_path: Path, call: Any) -> list[Mapping[str, Any]]:
    """What Core is told of a job."""
    async with core_process(tmp_path / "core") as core, linked(tmp_path, plugins=[LampPlugin]) as link:
        link.over_socket(core)
        await core.is_sent("supervisor_update", update_key="supervisor")
        with suppress(Failed):
            await link.system.jobs.run(call)
        return [message["data"] for message in await all_told(link, core) if message["event"] == "job"]


async def test_job_and_its_parts_are_told_of_each_with_its_parent(tmp_path: Path) -> None:
    records = await job_messages(tmp_path, light_lamps())

    (parent,) = {record["uuid"] for record in records if record["name"] == "light_lamps"}
    assert records[-1]["uuid"] != parent or records[-1]["done"] is True
    last = {record["uuid"]: record for record in records}
    assert {(record["name"], record["reference"], record["parent_id"]) for record in last.values()} == {
        ("light_lamps", None, None),
        ("light_lamp", "hall", parent),
        ("light_lamp", "cellar", parent),
    }
    assert {(record["progress"], record["done"]) for record in last.values()} == {(100.0, True)}
    assert records == [record for number, record in enumerate(records) if record not in records[:number]]
    for record in records:
        told = ClientJob.from_dict({**record, "child_jobs": []})  # as Core's integration reads it
        assert told.uuid.hex == record["uuid"]


async def test_job_that_fails_is_told_with_its_error(tmp_path: Path) -> None:
    last = (await job_messages(tmp_path, drop_lamp(lamp="cellar")))[-1]

    (error,) = last["errors"]
    assert (last["done"], last["reference"], last["extra"]) == (True, "cellar", None)
    assert (error["type"], error["message"], error["extra_fields"]) == ("Failed", "It is broken", {"lamp": "cellar"})
    assert ClientJob.from_dict({**last, "child_jobs": []}).errors[0].message == "It is broken"


def test_job_that_stays_as_it_is_is_told_once() -> None:
    messages = JobMessages()
    facts: dict[str, Any] = {"name": "x", "reference": None, "stage": None, "created": FakeClock().now()}
    waiting = JobInfo(uuid="a", progress=0, done=None, **facts)
    part = JobInfo(uuid="b", progress=0, done=None, **facts)
    running = JobInfo(uuid="a", progress=10, done=False, child_jobs=[part], **facts)

    assert messages.changed(waiting) == []
    assert [record["uuid"] for record in messages.changed(running)] == ["a"]
    assert messages.changed(running) == []


# --- users ------------------------------------------------------------------------------------------------------------


def user(letter: str, **facts: object) -> dict[str, object]:
    """A user of the stand-in's."""
    return {
        "id": letter * 32, "username": letter, "name": letter, "is_owner": False, "is_active": True,
        "local_only": False, "system_generated": False, "group_ids": [], "credentials": [], **facts,
    }  # fmt: skip


async def logged_out(link: Linked) -> list[str]:
    await link.system.bus.drained()
    return [event.user_id[0] for event in link.events if isinstance(event, UserLoggedOut)]


async def test_user_who_is_removed_or_may_not_log_in_any_more_is_logged_out(tmp_path: Path) -> None:
    users = [user("a"), user("b"), user("c")]
    async with core_process(tmp_path / "core", users=users) as core, linked(tmp_path) as link:
        link.over_socket(core)
        await core.is_told("command", type="config/auth/list")

        await core.become(users=[user("a", name="another"), user("b", is_active=False)])
        await core.fire("user_removed", user_id="c" * 32)
        await core.fire("user_updated", user_id="b" * 32)

        await link.is_told(UserLoggedOut, 3)  # the one who was removed, twice: as told, and as found
        assert sorted(await logged_out(link)) == ["b", "c", "c"]


async def test_user_who_was_removed_while_we_were_away_is_logged_out(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core", users=[user("a"), user("b")]) as core:
        async with linked(tmp_path) as link:
            link.over_socket(core)
            kept = await link.system.state.collection(ActiveUsers)

            async def known() -> bool:
                return bool(kept)

            await until(known, within_s=10, what="the users of Core")
        await core.become(users=[user("a")])
        async with linked(tmp_path) as link:
            link.over_socket(core)

            assert (await link.is_told(UserLoggedOut)).user_id == "b" * 32
            assert await logged_out(link) == ["b"]


# --- serial devices ---------------------------------------------------------------------------------------------------


def device(subsystem: str) -> Device:
    return Device(name="x0", sysfs="/sys/x0", dev_path="/dev/x0", subsystem=subsystem)


async def test_core_looks_for_serial_devices_when_one_comes_or_goes(link: Linked, core: CoreProcess) -> None:
    await tell(link, DeviceAdded(device("block")), DeviceAdded(device("tty")))
    await core.is_told("command", type="usb/scan")
    first = await core.told("command", type="usb/scan")
    await tell(link, DeviceRemoved(device("tty")))

    await core.is_told("command", lambda told: told not in first, type="usb/scan")
    assert len(await core.told("command", type="get_config")) == 2


async def test_core_without_the_integration_is_not_asked_to_look(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core", components=["api"]) as core, linked(tmp_path) as link:
        link.over_socket(core)
        await core.is_sent("supervisor_update", update_key="supervisor")

        await tell(link, DeviceAdded(device("tty")))

        await core.is_told("command", type="get_config")
        await all_told(link, core)
        assert not await core.told("command", type="usb/scan")


async def test_core_is_told_of_a_vault_as_of_a_mount_for_it_looks_for_places_only_then(
    link: Linked, core: CoreProcess
) -> None:
    await tell(link, BackupLocationChanged("cellar", there=True))
    made, _ = await all_told(link, core), await tell(link, BackupLocationChanged("cellar", there=False))
    gone = await all_told(link, core)

    jobs = [ClientJob.from_dict(event["data"] | {"child_jobs": []}) for event in (*made, *gone[len(made) :])]
    assert [(job.name, job.reference, job.done) for job in jobs] == [
        ("mount_manager_create_mount", "cellar", True),
        ("mount_manager_remove_mount", "cellar", True),
    ]
