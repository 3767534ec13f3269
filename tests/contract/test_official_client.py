"""The official client, aiohasupervisor, on a system that runs: what needs no container engine; the rest is in e2e.

Each of its calls for add-ons, store, jobs, os, root and supervisor is made in one of these files or is on record here
with the reason, with every option that its models know; what comes back is of the types that it declares.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohasupervisor.exceptions as refusals
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.exceptions import SupervisorError
from aiohasupervisor.models import (
    AddonsOptions,
    DetectBlockingIO,
    FeatureFlag,
    Job,
    JobCondition,
    JobsOptions,
    LogFormat,
    LogLevel,
    LogsOptions,
    StoreAddonInstall,
    StoreAddonUpdate,
    StoreAddRepository,
    SupervisorOptions,
    SupervisorUpdateOptions,
    UpdateChannel,
)

from rooftree import Principal, Role
from rooftree.process.system import System
from rooftree.testing import token_for
from tests.contract.client_answers import Used, checked, methods_of, models_taken, parameters_of
from tests.contract.inhabited import INSTALLED, OFFERED, RUNS, inhabited_house
from tests.rig.waiting import until

COVERED = (None, "addons", "store", "jobs", "supervisor", "os")
"""Components of the client, and its own calls, that are used in full."""
FILES = (
    Path(__file__),
    Path(__file__).with_name("test_official_client_os.py"),
    Path(__file__).parents[1] / "e2e" / "test_official_client.py",
)

NOT_OFFERED: dict[str, Callable[[SupervisorClient], Awaitable[Any]]] = {
    "supervisor.reload": lambda client: client.supervisor.reload(),
    "supervisor.restart": lambda client: client.supervisor.restart(),
    "supervisor.repair": lambda client: client.supervisor.repair(),
}
"""Calls that nothing of ours answers yet (``NOT_YET`` of ``test_routes.py`` says what each waits for): told as not
found, so that a client can tell them from a failure."""

NINE = datetime(2026, 1, 31, 9, 0, 0, 123_000, UTC)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[System]:
    """A system with every plugin, three add-ons of the local repository, and the fake engine."""
    async with inhabited_house(tmp_path) as system:
        yield system


@pytest.fixture
async def client(house: System) -> AsyncIterator[SupervisorClient]:
    """The client as Home Assistant Core makes it, over the network."""
    async with calling(house, Principal("core", "homeassistant", Role.ADMIN)) as calls:
        yield calls


@asynccontextmanager
async def calling(system: System, who: Principal) -> AsyncIterator[SupervisorClient]:
    """A client with a token of that caller's."""
    token = await token_for(system, who)
    async with SupervisorClient(f"http://127.0.0.1:{system.port}", token, source="rooftree") as client:
        yield client


# --- nothing is forgotten ---------------------------------------------------------------------------------------------


def test_every_call_of_the_client_is_made_or_on_record() -> None:
    used = Used.by(*FILES)

    offered = {method for component in COVERED for method in methods_of(component)}
    assert len(offered) > 40
    assert offered - used.methods == set()


def test_every_argument_and_every_option_of_its_models_is_given_or_on_record() -> None:
    used = Used.by(*FILES)
    methods = {method for component in COVERED for method in methods_of(component)}

    options = {
        f"{model.__name__}({field.name})": field.name in used.keywords.get(model.__name__, ())
        for model in models_taken(methods)
        for field in dataclasses.fields(model)
    }
    arguments = {
        f"{method}({name})": name in used.keywords[method.rpartition(".")[2]]
        for method in methods
        for name in parameters_of(method)
        if name not in {"addon", "repository", "options", "config", "stdin", "job"}  # given by position
    }

    assert len(options) > 25
    assert [name for name, given in (options | arguments).items() if not given] == []


@pytest.mark.parametrize("name", NOT_OFFERED)
async def test_call_that_nothing_answers_yet_is_told_so(client: SupervisorClient, name: str) -> None:
    with pytest.raises(refusals.SupervisorNotFoundError) as caught:
        await NOT_OFFERED[name](client)

    assert str(caught.value)


# --- root and supervisor ----------------------------------------------------------------------------------------------


async def test_own_use_is_told_and_an_update_from_within_is_refused(client: SupervisorClient) -> None:
    stats = checked(await client.supervisor.stats())
    with pytest.raises(refusals.SupervisorBadRequestError, match="not updated from within"):
        await client.supervisor.update(SupervisorUpdateOptions(version="2026.11.0"))

    assert stats.memory_usage > 1_000_000


async def test_what_the_whole_says_of_itself_is_understood(client: SupervisorClient, house: System) -> None:
    root = checked(await client.info())
    updates = checked(await client.available_updates())
    supervisor = checked(await client.supervisor.info())
    await client.supervisor.ping()

    assert (root.state, root.channel) == ("running", "stable")
    assert root.arch in root.supported_arch
    assert updates == []
    assert (supervisor.version, supervisor.supported, supervisor.update_available) == (root.supervisor, True, False)


async def test_versions_are_asked_for_anew(client: SupervisorClient, house: System) -> None:
    offer = house.data.path / "apps" / "local" / "new" / "config.json"
    text = offer.read_text()
    offer.write_text(text.replace('"1.0"', '"1.1"'))

    await client.reload_updates()
    before = checked(await client.store.addon_info(OFFERED)).version_latest
    await client.refresh_updates()
    after = checked(await client.store.addon_info(OFFERED)).version_latest

    assert (before, after) == ("1.0", "1.1")


async def test_every_option_of_the_supervisor_is_taken(client: SupervisorClient) -> None:
    await client.supervisor.set_options(
        SupervisorOptions(
            channel=UpdateChannel.BETA,
            timezone="Europe/Berlin",
            logging=LogLevel.WARNING,
            debug=True,
            debug_block=True,
            diagnostics=False,
            content_trust=False,
            force_security=False,
            auto_update=False,
            country="DE",
            detect_blocking_io=DetectBlockingIO.OFF,
            feature_flags=dict.fromkeys(FeatureFlag, False),
        )
    )

    info = checked(await client.supervisor.info())
    assert (info.channel, info.timezone, info.logging, info.country) == ("beta", "Europe/Berlin", "warning", "DE")
    assert (info.debug, info.debug_block, info.diagnostics, info.auto_update) == (True, True, False, False)
    assert set(info.feature_flags) >= set(FeatureFlag) and not any(info.feature_flags.values())


async def test_raw_frames_are_refused_by_a_flag_that_is_on_unless_switched_off(client: SupervisorClient) -> None:
    flag = FeatureFlag.APP_DROP_NET_RAW
    before = checked(await client.supervisor.info()).feature_flags[flag]
    seen = []
    for wanted in (False, True):
        await client.supervisor.set_options(SupervisorOptions(feature_flags={flag: wanted}))
        seen.append(checked(await client.supervisor.info()).feature_flags[flag])

    assert (before, seen) == (True, [False, True])


@pytest.mark.parametrize("detection", DetectBlockingIO)
async def test_every_way_to_detect_blocking_calls_is_taken(
    client: SupervisorClient, detection: DetectBlockingIO
) -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_debug()
    try:
        await client.supervisor.set_options(SupervisorOptions(detect_blocking_io=detection))
        assert checked(await client.supervisor.info()).detect_blocking_io is (detection is not DetectBlockingIO.OFF)
    finally:
        loop.set_debug(before)


# --- jobs -------------------------------------------------------------------------------------------------------------


async def test_jobs_are_listed_looked_at_and_forgotten(client: SupervisorClient) -> None:
    await client.store.install_addon(OFFERED, StoreAddonInstall(background=True))

    job = next(job for job in checked(await client.jobs.info()).jobs if job.reference == OFFERED)
    shown = await until(lambda: ended(client, job.uuid), within_s=10, what="the end of the installation")
    await client.jobs.delete_job(job.uuid)

    assert (shown.name, shown.progress, shown.errors) == ("app_manager_install", 100, [])
    assert job.uuid not in {left.uuid for left in (await client.jobs.info()).jobs}


async def ended(client: SupervisorClient, job_id: UUID) -> Job | None:
    """The job, once it has ended."""
    job = checked(await client.jobs.get_job(job_id))
    return job if job.done else None


async def test_every_condition_of_the_client_may_be_ignored_and_asked_for_again(client: SupervisorClient) -> None:
    await client.jobs.set_options(JobsOptions(ignore_conditions=[*JobCondition]))
    ignored = checked(await client.jobs.info()).ignore_conditions
    await client.jobs.reset()

    assert set(ignored) == set(JobCondition)
    assert checked(await client.jobs.info()).ignore_conditions == []


async def test_what_went_wrong_in_a_job_is_understood(client: SupervisorClient, house: System) -> None:
    with pytest.raises(SupervisorError):
        await client.store.add_repository(StoreAddRepository(repository="http://127.0.0.1:9/nothing"))

    failed = next(job for job in checked(await client.jobs.info()).jobs if job.errors)
    assert "127.0.0.1:9" in failed.errors[0].message and failed.done


# --- store and add-ons ------------------------------------------------------------------------------------------------


async def test_what_is_on_offer_is_understood(client: SupervisorClient) -> None:
    store = checked(await client.store.info())
    addons = checked(await client.store.addons_list())
    repositories = checked(await client.store.repositories_list())
    local = checked(await client.store.repository_info("local"))
    offered = checked(await client.store.addon_info(OFFERED))
    await client.store.addon_availability(OFFERED)

    assert {addon.slug: addon.installed for addon in addons} == {RUNS: True, INSTALLED: True, OFFERED: False}
    assert (store.addons, store.repositories) == (addons, repositories)
    assert local in repositories
    assert (offered.installed, offered.version, offered.version_latest) == (False, None, "1.0")
    assert await client.store.addon_changelog(OFFERED) == "# 1.0\n"
    assert await client.store.addon_documentation(OFFERED) == "Say hello.\n"


async def test_what_is_installed_is_understood(client: SupervisorClient) -> None:
    listed = checked(await client.addons.list())
    runs = checked(await client.addons.addon_info(RUNS))
    stopped = checked(await client.addons.addon_info(INSTALLED))
    in_store = checked(await client.store.addon_info(RUNS))

    assert {addon.slug: addon.state for addon in listed} == {RUNS: "started", INSTALLED: "stopped"}
    assert (runs.state, runs.boot, runs.startup) == ("started", "auto", "application")
    assert runs.options["word"] == "hello" and runs.network == {"80/tcp": 8099}
    assert runs.ingress_url is not None and runs.ingress_url.startswith("/api/hassio_ingress/")
    assert (stopped.state, str(stopped.ip_address)) == ("stopped", "0.0.0.0")
    assert (in_store.installed, in_store.version, in_store.supervisor_role) == (True, "1.0", "default")


async def test_add_on_that_is_not_installed_has_the_details_that_the_store_knows(client: SupervisorClient) -> None:
    offered = checked(await client.addons.addon_info(OFFERED))

    assert (offered.slug, offered.state, offered.version) == (OFFERED, "unknown", None)
    assert offered.version_latest == "1.0"
    with pytest.raises(refusals.AppNotInstalledError):
        await client.addons.addon_stats(OFFERED)


async def test_options_are_validated_for_whom_they_concern(client: SupervisorClient) -> None:
    fits = checked(await client.addons.addon_config_validate(RUNS, {"word": "a", "names": [], "at": {"hour": 1}}))
    wrong = checked(await client.addons.addon_config_validate(RUNS, {"word": "a", "names": [], "at": {"hour": 24}}))

    assert (fits.valid, fits.message) == (True, "")
    assert not wrong.valid and "hour" in wrong.message


async def test_add_on_reads_its_own_options_with_the_client(house: System) -> None:
    async with calling(house, Principal("addon", RUNS, Role.DEFAULT)) as as_addon:
        config = await as_addon.addons.addon_config("self")

    assert config == {"word": "hello", "names": ["you"], "at": {"hour": 7}}


async def test_client_on_the_unix_socket_needs_no_token(house: System) -> None:
    async with SupervisorClient(unix_socket=house.settings.kernel.socket) as local:
        assert checked(await local.info()).state == "running"
        assert len(checked(await local.addons.list())) == 2


# --- logs of our own --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (LogFormat.PLAIN, "two"),
        (LogFormat.TIMESTAMP, "2026-01-31 09:00:00.123 two"),
        (LogFormat.VERBOSE, f"2026-01-31 09:00:00.123 {socket.gethostname()} rooftree[{os.getpid()}]: two"),
    ],
    ids=list(LogFormat),
)
async def test_own_log_is_read_in_every_format(
    client: SupervisorClient, house: System, shown: LogFormat, line: str
) -> None:
    for text in ("one", "\x1b[31mtwo\x1b[0m"):
        house.logs.append(NINE, text)

    async with aclosing(
        await client.supervisor.logs(LogsOptions(lines=1, format=shown, no_colors=True), read_timeout=10)
    ) as lines:
        last = [line async for line in lines]
    async with aclosing(await client.supervisor.logs(LogsOptions(format=shown, range="entries=:-1:1"))) as lines:
        one = [line async for line in lines]
    nine = int(NINE.timestamp())
    at_nine = LogsOptions(format=shown, no_colors=True, range=f"realtime={nine}000000:{nine + 1}:1000")
    async with aclosing(await client.supervisor.logs(at_nine)) as lines:
        timed = [line async for line in lines]

    assert last == [line]
    assert one[0].endswith("one")
    assert [line[-3:] for line in timed] == ["one", "two"]


async def test_logs_of_an_earlier_boot_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{error.st_dev}:{error.st_ino}")  # as systemd tells a service of its own
    core = Principal("core", "homeassistant", Role.ADMIN)

    async with inhabited_house(tmp_path, "journald") as system, calling(system, core) as client:
        async with aclosing(await client.supervisor.logs(boot=-1, read_timeout=10)) as lines:
            ours = [line async for line in lines]
        async with aclosing(await client.addons.addon_logs(RUNS, boot=-1, read_timeout=10)) as lines:
            hello = [line async for line in lines]

    assert (ours, hello) == (["ours in boot 0"], ["hello in boot 0"])


async def test_own_log_is_read_since_the_start_and_followed(client: SupervisorClient, house: System) -> None:
    house.logs.append(NINE, "before it was asked")
    async with aclosing(await client.supervisor.logs(latest=True)) as lines:
        kept = [line async for line in lines]

    async with aclosing(await client.supervisor.logs(follow=True, read_timeout=10)) as lines:
        assert await anext(lines) == kept[0]
        house.logs.append(NINE, "while it is followed")
        async for line in lines:
            if line == "while it is followed":
                break
        else:
            pytest.fail("the log ended before the line came")

    assert "before it was asked" in kept


# --- errors -----------------------------------------------------------------------------------------------------------


async def refused(call: Awaitable[Any]) -> SupervisorError:
    """What the client raised."""
    with pytest.raises(SupervisorError) as caught:
        await call
    return caught.value


async def test_errors_of_add_ons_arrive_as_the_exceptions_of_their_keys(client: SupervisorClient) -> None:
    unknown = await refused(client.addons.start_addon(OFFERED))
    again = await refused(client.store.install_addon(RUNS, StoreAddonInstall(background=True)))
    newest = await refused(client.store.update_addon(RUNS, StoreAddonUpdate(background=False)))
    image = await refused(client.addons.rebuild_addon(RUNS))
    wrong = await refused(client.addons.set_addon_options(RUNS, AddonsOptions(config={"word": 1})))
    silent = await refused(client.addons.addon_stats(INSTALLED))

    assert isinstance(unknown, refusals.AppNotInstalledError) and OFFERED in str(unknown)
    assert isinstance(again, refusals.AppAlreadyInstalledError)
    assert isinstance(newest, refusals.AppNoUpdateAvailableError)
    assert isinstance(image, refusals.AppRebuildImageBasedError)
    assert isinstance(wrong, refusals.AppConfigurationInvalidError)
    assert isinstance(silent, refusals.AppNotRunningError)
    for error in (unknown, again, newest, image, wrong, silent):
        assert isinstance(error, refusals.SupervisorBadRequestError)
        assert error.extra_fields is not None and {RUNS, INSTALLED, OFFERED} & {*error.extra_fields.values()}


async def test_errors_of_the_store_arrive_as_the_exceptions_of_their_keys(client: SupervisorClient) -> None:
    absent = await refused(client.store.addon_info("local_none"))
    local = await refused(client.store.repair_repository("local"))
    nowhere = await refused(client.store.repository_info("0123abcd"))
    twice = await refused(client.store.add_repository(StoreAddRepository(repository="local")))
    in_use = await refused(client.store.remove_repository("local"))

    assert isinstance(absent, refusals.StoreAppNotFoundError)
    assert isinstance(local, refusals.StoreRepositoryLocalCannotResetError)
    assert isinstance(nowhere, refusals.SupervisorNotFoundError)
    assert isinstance(twice, refusals.StoreRepositoryAlreadyAddedError)
    assert RUNS in str(in_use) or "local" in str(in_use)


async def test_who_is_not_let_in_is_told_why(house: System) -> None:
    url = f"http://127.0.0.1:{house.port}"
    async with SupervisorClient(url, "f" * 64) as stranger:
        assert isinstance(await refused(stranger.info()), refusals.SupervisorForbiddenError)
    async with calling(house, Principal("addon", RUNS, Role.DEFAULT)) as as_addon:
        assert isinstance(await refused(as_addon.addons.list()), refusals.SupervisorForbiddenError)
    async with calling(house, Principal("core", "homeassistant", Role.ADMIN)) as client:
        assert isinstance(await refused(client.jobs.get_job(UUID(int=0))), refusals.SupervisorNotFoundError)
