"""The official client's calls for the host and its clock, against a machine of stand-ins on a real bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohasupervisor.exceptions as refusals
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import HostOptions, LogFormat, LogsOptions, RebootOptions, ShutdownOptions
from aiohasupervisor.models.time import TimeOptions

from rooftree import Principal, Role
from tests.contract.client_answers import Used, checked, methods_of
from tests.contract.inhabited import inhabited_house
from tests.contract.test_official_client import calling

COVERED = ("host", "time")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[SupervisorClient]:
    """The client as Home Assistant Core makes it."""
    async with (
        inhabited_house(tmp_path) as system,
        calling(system, Principal("core", "homeassistant", Role.ADMIN)) as found,
    ):
        yield found


def test_every_call_is_made() -> None:
    offered = {method for component in COVERED for method in methods_of(component)}

    assert len(offered) > 10
    assert offered - Used.by(Path(__file__)).methods == set()


async def test_host_is_described(client: SupervisorClient) -> None:
    info = checked(await client.host.info())
    services = checked(await client.host.services())
    usage = checked(await client.host.get_disk_usage(max_depth=2))

    assert (info.hostname, info.timezone, info.startup_time) == ("attic", "Europe/Berlin", 14.75)
    assert info.dt_utc is not None and abs(info.dt_utc - datetime.now(UTC)) < timedelta(minutes=1)
    assert [service.name for service in services][:2] == ["cron.service", "dbus.service"]
    assert (usage.id, next(child.id for child in usage.children or ())) == ("root", "system")


async def test_host_is_changed_and_ended(client: SupervisorClient) -> None:
    await client.host.set_options(HostOptions(hostname="cellar"))
    await client.host.reload()
    renamed = (await client.host.info()).hostname
    with pytest.raises(refusals.SupervisorBadRequestError, match="hostname"):
        await client.host.set_options(HostOptions(hostname="no name"))
    await client.host.reboot(RebootOptions(force=False))
    await client.host.shutdown(ShutdownOptions(force=True))

    assert renamed == "cellar"


async def test_hosts_log_is_read(client: SupervisorClient) -> None:
    boots = await client.host.log_boots()
    identifiers = await client.host.log_identifiers()
    options = LogsOptions(lines=5, format=LogFormat.PLAIN, no_colors=True, range=None)
    lines = [line async for line in await client.host.logs(options, identifier="kernel", boot=-1, read_timeout=10)]

    assert sorted(boots) == [-1, 0]
    assert identifiers == ["app_local_hello", "kernel", "rooftree"]
    assert lines == ["tick"]


async def test_clock_is_set_by_other_servers(client: SupervisorClient) -> None:
    before = checked(await client.time.info())
    await client.time.set_options(TimeOptions(servers=["ntp.example"], fallback_servers=None))
    after = checked(await client.time.info())

    assert (before.config.servers, after.config.servers) == ([], ["ntp.example"])
