"""The official client's calls for backups, as Home Assistant Core makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path, PurePath

import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.exceptions import SupervisorBadRequestError, SupervisorNotFoundError
from aiohasupervisor.models import (
    BackupsOptions,
    DownloadBackupOptions,
    Folder,
    FreezeOptions,
    FullBackupOptions,
    PartialBackupOptions,
    RemoveBackupOptions,
    UploadBackupOptions,
)

from rooftree import Principal, Role
from rooftree.interfaces.backups import PartContents
from tests.contract.client_answers import checked
from tests.contract.test_official_client import calling
from tests.plugins.backups.house import House, house

CLOUD = ".cloud_backup"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, real=True) as running:
        (tmp_path / "data" / "ssl").mkdir()
        running.core.contents = PartContents(documents={"homeassistant.json": b"{}"})
        yield running


@pytest.fixture
async def client(home: House) -> AsyncIterator[SupervisorClient]:
    async with calling(home.system, Principal("core", "homeassistant", Role.ADMIN)) as client:
        yield client


async def test_backup_is_made_in_the_background_and_known_by_its_jobs_reference(
    client: SupervisorClient, home: House
) -> None:
    home.mounts.add("nas")
    options = PartialBackupOptions(
        name="Automatic backup 2026.11.0", addons={"local_lamp"}, folders={Folder.SSL}, homeassistant=True,
        homeassistant_exclude_database=True, compressed=True, password="mine", location=[".local", "nas", CLOUD],
        background=True, filename=PurePath("automatic.tar"),
        extra={"instance_id": "x", "supervisor.backup_request_date": "2026-11-30T04:45:00+01:00"},
    )  # fmt: skip

    begun = checked(await client.backups.partial_backup(options))

    assert begun.slug is None
    async with asyncio.timeout(20):
        while (job := await home.system.jobs.get(begun.job_id.hex)).done is not True:
            await asyncio.sleep(0.02)
    assert job.errors == []
    details = checked(await client.backups.backup_info(str(job.reference)))
    assert set(details.location_attributes) == {".local", "nas", CLOUD}
    assert (details.homeassistant, details.homeassistant_exclude_database) == ("2026.11.0", False)
    assert details.extra == options.extra or set(details.extra or {}) >= set(options.extra or {})
    (entry,) = checked(await client.backups.list())
    assert (entry.content.addons, entry.content.folders) == (["local_lamp"], [Folder.SSL])


async def test_backup_goes_out_and_comes_in_again(client: SupervisorClient, home: House) -> None:
    made = checked(await client.backups.full_backup(FullBackupOptions(name="All", password="mine")))
    assert made.slug is not None
    stream = await client.backups.download_backup(made.slug, DownloadBackupOptions(location=".local"))
    content = b"".join([chunk async for chunk in stream])
    assert content == (home.local / f"{made.slug}.tar").read_bytes()
    await client.backups.remove_backup(made.slug, RemoveBackupOptions(location={".local"}))
    with pytest.raises(SupervisorNotFoundError):
        await client.backups.backup_info(made.slug)
    with pytest.raises(SupervisorNotFoundError, match=f"There is no backup {made.slug}"):
        await client.backups.download_backup(made.slug)

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(content), 1000):
            yield content[begin : begin + 1000]

    options = UploadBackupOptions(location={CLOUD}, filename=PurePath("came_back.tar"))
    assert await client.backups.upload_backup(pieces(), options) == made.slug

    details = checked(await client.backups.backup_info(made.slug))
    assert set(details.location_attributes) == {CLOUD}
    assert details.location_attributes[CLOUD].protected is True


async def test_settings_reload_freeze_and_thaw(client: SupervisorClient) -> None:
    await client.backups.set_options(BackupsOptions(days_until_stale=12))
    assert checked(await client.backups.info()).days_until_stale == 12
    await client.backups.reload()
    await client.backups.freeze(FreezeOptions(timeout=60))
    await client.backups.thaw()
    with pytest.raises(SupervisorBadRequestError):
        await client.backups.thaw()
