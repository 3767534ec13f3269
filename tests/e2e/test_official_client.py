"""The official client, aiohasupervisor, in Home Assistant's place: each of its calls that ends at a container.

One daemon for all tests, with a repository of add-ons that between them have about every key that the client's models
show. What needs no engine is in ``tests/contract/test_official_client.py``, which also counts that nothing is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

import aiohasupervisor.exceptions as refusals
import aiohttp
import pytest
import pytest_asyncio
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import (
    AddonBoot,
    AddonsOptions,
    AddonsRebuild,
    AddonsSecurityOptions,
    AddonsUninstall,
    Job,
    LogFormat,
    LogsOptions,
    StoreAddonInstall,
    StoreAddonUpdate,
    StoreAddRepository,
)
from attrs import evolve, frozen

from tests.contract.client_answers import checked
from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, REPOSITORY, WAITS, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.registry import Registry
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("official-client")

LISTENS = """\
#!/bin/sh
trap 'exit 0' TERM
printf '\\033[32mready\\033[0m\\n'
while read -r line; do echo "heard $line"; done
while :; do sleep 3600 & wait; done
"""
"""A program that repeats what its standard input brings, after a coloured line."""
RICH: dict[str, Any] = {
    "options": {"word": "hello", "names": ["you"], "at": {"hour": 6}},
    "schema": {"word": "str", "names": ["str"], "loud": "bool?", "at": {"hour": "int(0,23)?"}},
    "ports": {"8099/tcp": None},
    "ports_description": {"8099/tcp": "The web page"},
    "webui": "http://[HOST]:[PORT:8099]/",
    "ingress": True,
    "panel_icon": "mdi:home",
    "stdin": True,
    "audio": True,
    "hassio_api": True,
    "hassio_role": "manager",
    "homeassistant": "2023.1.0",
    "services": ["mqtt:want"],
    "discovery": ["rig"],
    "map": ["share:rw", "ssl"],
    "privileged": ["NET_ADMIN"],
    "devices": ["/dev/null"],
    "watchdog": "tcp://[HOST]:[PORT:8099]",
    "stage": "experimental",
    "url": "https://example.com/rich",
}
TEXTS = {
    "rich/CHANGELOG.md": "# 1.0\n",
    "rich/DOCS.md": "# How\n",
    "rich/README.md": "# Rich\n",
    "rich/translations/en.yaml": "configuration:\n  word:\n    name: The word\n    description: What is said\n",
}
FOREIGN = {
    "elsewhere": {"arch": ["armv7"]},
    "unmade": {"machine": ["odroid-n2"]},
}
"""Add-ons that cannot be installed here."""


@frozen
class Home:
    """What the client is connected with, and what is behind it."""

    client: SupervisorClient
    daemon: Daemon
    engine: Engine
    repository: GitRepository
    registry: Registry
    base_image: str
    slug: str
    """Of the repository."""

    def addon(self, name: str) -> Addon:
        """One of the repository's add-ons."""
        return Addon(self.daemon, self.engine, f"{self.slug}_{name}")

    async def release(self, files: Any) -> None:
        """Publish files and let the store see them."""
        self.repository.write(files)
        self.repository.push()
        await self.client.store.reload()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: Engine, git_server: GitServer, registry: Registry, base_image: str) -> AsyncIterator[Home]:
    """A daemon whose repository was added by the client; ``rich`` is installed and runs."""
    registry.publish("client/pulled", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": WAITS})
    foreign = {
        key: text for name, keys in FOREIGN.items() for key, text in addon_files(name, image="a/b", **keys).items()
    }
    repository = git_server.repository(
        "client",
        {
            **REPOSITORY,
            **addon_files("rich", base=base_image, script=LISTENS, **RICH),
            **addon_files("pulled", image=f"{registry.address}/client/pulled"),
            **TEXTS,
            **foreign,
        },
    )
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        async with SupervisorClient(daemon.url, daemon.admin_token) as client:
            await client.store.add_repository(StoreAddRepository(repository=repository.url))
            added = next(found for found in await client.store.repositories_list() if found.source == repository.url)
            await client.store.install_addon(f"{added.slug}_rich")
            await client.addons.start_addon(f"{added.slug}_rich")
            yield Home(client, daemon, engine, repository, registry, base_image, added.slug)


@pytest.fixture
async def home(shared: Home) -> AsyncIterator[Home]:
    """The same with a client of the test's own: a session belongs to one event loop."""
    async with SupervisorClient(shared.daemon.url, shared.daemon.admin_token) as client:
        yield evolve(shared, client=client)


@pytest.fixture
def client(home: Home) -> SupervisorClient:
    """The client."""
    return home.client


@pytest.fixture
def rich(home: Home) -> Addon:
    """The add-on that runs."""
    return home.addon("rich")


async def test_repository_that_the_client_added_is_understood(home: Home) -> None:
    client = home.client

    store = checked(await client.store.info())
    shown = checked(await client.store.repository_info(home.slug))
    await client.store.repair_repository(home.slug)

    assert shown in store.repositories
    assert (shown.name, shown.maintainer, shown.source) == ("Rig", "The rig", home.repository.url)
    assert {addon.slug for addon in store.addons if addon.available} == {f"{home.slug}_rich", f"{home.slug}_pulled"}
    assert store.repositories == checked(await client.store.repositories_list())
    assert store.addons == checked(await client.store.addons_list())


async def test_running_add_on_is_understood_in_every_detail(client: SupervisorClient, rich: Addon) -> None:
    info = checked(await client.addons.addon_info(rich.slug))
    listed = {addon.slug: addon for addon in checked(await client.addons.list())}[rich.slug]
    in_store = checked(await client.store.addon_info(rich.slug))

    assert (info.state, info.build, info.stage, info.version) == ("started", True, "experimental", "1.0")
    assert (info.stdin, info.audio, info.ingress, info.watchdog) == (True, True, True, False)
    assert info.network == {"8099/tcp": None} and info.network_description == {"8099/tcp": "The web page"}
    assert info.privileged == ["NET_ADMIN"] and info.devices == ["/dev/null"] and info.services == ["mqtt:want"]
    assert str(info.ip_address) in rich.engine.run("inspect", rich.container)
    assert info.translations["en"]["configuration"]["word"]["name"] == "The word"
    assert (info.log_format, info.supervisor_role) == (LogFormat.PLAIN, "manager")
    assert (listed.state, listed.name) == (info.state, info.name)
    assert (in_store.installed, in_store.rating) == (True, info.rating)
    assert await client.store.addon_changelog(rich.slug) == "# 1.0\n"
    assert await client.store.addon_documentation(rich.slug) == "# How\n"


async def test_every_option_of_an_add_on_is_set_and_put_back(client: SupervisorClient, rich: Addon) -> None:
    await client.addons.set_addon_options(
        rich.slug,
        AddonsOptions(
            config={"word": "moin", "names": ["all"], "loud": True, "at": {"hour": 7}},
            boot=AddonBoot.MANUAL,
            auto_update=True,
            network={"8099/tcp": None},
            audio_input="in",
            audio_output="out",
            ingress_panel=True,
            watchdog=True,
        ),
    )
    changed = checked(await client.addons.addon_info(rich.slug))
    await client.addons.set_addon_options(
        rich.slug,
        AddonsOptions(
            config=None, boot=AddonBoot.AUTO, auto_update=False, network=None, audio_input=None, audio_output=None,
            ingress_panel=False, watchdog=False,
        ),
    )  # fmt: skip
    put_back = checked(await client.addons.addon_info(rich.slug))

    assert changed.options == {"word": "moin", "names": ["all"], "loud": True, "at": {"hour": 7}}
    assert (changed.boot, changed.auto_update, changed.ingress_panel, changed.watchdog) == ("manual", True, True, True)
    assert (changed.audio_input, changed.audio_output) == ("in", "out")
    assert put_back.options == RICH["options"]
    assert (put_back.boot, put_back.auto_update, put_back.audio_input, put_back.network) == (
        "auto", False, None, {"8099/tcp": None},
    )  # fmt: skip


async def test_options_are_validated_and_reach_the_add_on(home: Home, rich: Addon) -> None:
    verdict = checked(await home.client.addons.addon_config_validate(rich.slug, {"word": "a", "names": []}))
    missing = checked(await home.client.addons.addon_config_validate(rich.slug, {"word": 1, "names": []}))
    connector = aiohttp.UnixConnector(str(home.daemon.socket))  # from our address its token is refused
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        SupervisorClient(home.daemon.url, rich.token(), session) as as_addon,
    ):
        own = await as_addon.addons.addon_config("self")

    assert verdict.valid and not missing.valid and "word" in missing.message
    assert own == RICH["options"]


async def test_protection_is_switched(client: SupervisorClient, rich: Addon) -> None:
    await client.addons.set_addon_security(rich.slug, AddonsSecurityOptions(protected=False))
    unprotected = (await client.addons.addon_info(rich.slug)).protected
    await client.addons.set_addon_security(rich.slug, AddonsSecurityOptions(protected=True))

    assert unprotected is False
    assert (await client.addons.addon_info(rich.slug)).protected is True


async def test_standard_input_is_heard_and_the_log_shows_it(client: SupervisorClient, rich: Addon) -> None:
    await client.addons.write_addon_stdin(rich.slug, b"the client\n")

    async with asyncio.timeout(20), aclosing(await client.addons.addon_logs(rich.slug, follow=True)) as lines:
        async for line in lines:
            if line == "heard the client":
                break
        else:
            pytest.fail("the log ended before the line came")


async def test_log_is_read_in_each_of_the_ways_that_the_client_knows(client: SupervisorClient, rich: Addon) -> None:
    async def read(options: LogsOptions | None = None, *, latest: bool = False) -> list[str]:
        async with (
            asyncio.timeout(20),
            aclosing(await client.addons.addon_logs(rich.slug, options, latest=latest, read_timeout=10)) as lines,
        ):
            return [line async for line in lines]

    whole = await read()
    plain = await read(LogsOptions(format=LogFormat.PLAIN, no_colors=True))
    timed = await read(LogsOptions(format=LogFormat.TIMESTAMP, no_colors=True))
    verbose = await read(LogsOptions(format=LogFormat.VERBOSE, no_colors=True))
    last = await read(LogsOptions(lines=1))
    ranged = await read(LogsOptions(range="entries=:0:1"))
    since = int(datetime.fromisoformat(f"{timed[0][:23]}+00:00").timestamp() * 1_000_000)
    by_time = await read(LogsOptions(range=f"realtime={since}:{since // 1_000_000 + 3600}:1000"))
    latest = await read(latest=True)

    assert whole[0] == "\x1b[32mready\x1b[0m" and plain[0] == latest[0] == "ready"
    assert (
        timed[0].endswith(" ready") and timed[0][:2] == "20" and len(timed[0]) == len("2026-01-31 09:00:00.123 ready")
    )
    assert verbose[0].endswith(f" app_{rich.slug}: ready") and verbose[0][:23] == timed[0][:23]
    assert last == whole[-1:] and ranged == whole[:1]
    assert by_time == whole


async def test_stats_of_a_running_add_on_are_understood(client: SupervisorClient, rich: Addon) -> None:
    rich.engine.run("exec", "--detach", rich.container, "timeout", "10", "sh", "-c", "while :; do :; done")

    stats = checked(await client.addons.addon_stats(rich.slug))

    assert 0 < stats.memory_usage < stats.memory_limit
    assert 1 < stats.cpu_percent <= 100  # it has a processor, or a part of one, to itself


async def test_add_on_is_stopped_started_and_restarted(client: SupervisorClient, rich: Addon) -> None:
    await client.addons.stop_addon(rich.slug)
    stopped = (await client.addons.addon_info(rich.slug)).state
    with pytest.raises(refusals.AppNotRunningError):
        await client.addons.addon_stats(rich.slug)
    with pytest.raises(refusals.AppNotRunningError):
        await client.addons.write_addon_stdin(rich.slug, b"nobody hears\n")
    await client.addons.start_addon(rich.slug)
    first = rich.container_id()
    await client.addons.restart_addon(rich.slug)

    assert stopped == "stopped"
    assert (await client.addons.addon_info(rich.slug)).state == "started" and rich.container_id() != first


async def test_add_on_that_is_built_here_is_built_again(client: SupervisorClient, rich: Addon) -> None:
    first = rich.container_id()

    await client.addons.rebuild_addon(rich.slug)
    await client.addons.rebuild_addon(rich.slug, AddonsRebuild(force=True))

    assert (await client.addons.addon_info(rich.slug)).state == "started" and rich.container_id() != first


async def test_what_cannot_be_installed_here_says_why_by_its_exception(home: Home) -> None:
    with pytest.raises(refusals.AddonNotSupportedArchitectureError) as architecture:
        await home.client.store.addon_availability(f"{home.slug}_elsewhere")
    with pytest.raises(refusals.AddonNotSupportedMachineTypeError) as machine:
        await home.client.store.install_addon(f"{home.slug}_unmade")
    await home.client.store.addon_availability(f"{home.slug}_pulled")

    assert "armv7" in str(architecture.value) and "odroid-n2" in str(machine.value)


async def test_install_update_and_removal_go_on_in_the_background_as_jobs(home: Home) -> None:
    client, pulled = home.client, home.addon("pulled")
    await client.store.install_addon(pulled.slug, StoreAddonInstall(background=True))
    installed = await job_of(client, pulled.slug)
    home.registry.publish("client/pulled", "2.0", DOCKERFILE.format(version="2.0"), {"run.sh": WAITS})
    await home.release(addon_files("pulled", "2.0", image=f"{home.registry.address}/client/pulled"))
    waiting = checked(await client.available_updates())
    await client.store.update_addon(pulled.slug, StoreAddonUpdate(background=True, backup=False))
    updated = await job_of(client, pulled.slug)
    version = (await client.addons.addon_info(pulled.slug)).version
    with pytest.raises(refusals.AppNoUpdateAvailableError):
        await client.store.update_addon(pulled.slug)
    with pytest.raises(refusals.SupervisorError) as in_use:
        await client.store.remove_repository(home.slug)
    await client.addons.uninstall_addon(pulled.slug, AddonsUninstall(remove_config=True))

    assert (installed.name, installed.errors) == ("app_manager_install", [])
    assert [(update.update_type, update.name, update.version_latest) for update in waiting] == [
        ("addon", "Pulled", "2.0")
    ]
    assert (updated.name, updated.errors, version) == ("addon_manager_update", [], "2.0")
    assert pulled.slug in str(in_use.value)
    assert pulled.slug not in {addon.slug for addon in await client.addons.list()}


async def job_of(client: SupervisorClient, slug: str) -> Job:
    """The newest job that changes the add-on, once it has ended; it is taken off the list."""

    async def ended() -> Job | None:
        jobs = checked(await client.jobs.info()).jobs
        return next((job for job in jobs if job.reference == slug and job.done), None)

    job = await until(ended, within_s=30, what=f"the end of a job with {slug}")
    assert job is not None
    await client.jobs.delete_job(job.uuid)
    return job


async def test_repository_that_nothing_is_installed_from_is_removed(home: Home, git_server: GitServer) -> None:
    spare = git_server.repository("spare", {**REPOSITORY, **addon_files("spare", image="a/b")})
    await home.client.store.add_repository(StoreAddRepository(repository=spare.url))
    with pytest.raises(refusals.StoreRepositoryAlreadyAddedError):
        await home.client.store.add_repository(StoreAddRepository(repository=spare.url))
    slug = next(found.slug for found in await home.client.store.repositories_list() if found.source == spare.url)

    await home.client.store.remove_repository(slug)

    assert slug not in {found.slug for found in await home.client.store.repositories_list()}


async def test_the_whole_names_its_engine(home: Home) -> None:
    root = checked(await home.client.info())

    assert root.docker == home.engine.run("version", "--format", "{{.Server.Version}}")
