"""The official client's calls that put backups back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohasupervisor.exceptions as refusals
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import (
    Folder,
    FullBackupOptions,
    FullRestoreOptions,
    PartialBackupOptions,
    PartialRestoreOptions,
)

from rooftree import Principal, Role
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import container_steps
from tests.contract.client_answers import checked
from tests.contract.test_official_client import calling
from tests.plugins.addons.house import HELLO, House
from tests.plugins.backups.restored_house import until_quiet, whole_house


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house with an add-on."""
    monkeypatch.setattr(container_steps, "STEADY_S", 0.0)
    async with whole_house(tmp_path, FakeContainerEngine()) as here:
        await here.run()
        await write(here, "old")
        yield here


@pytest.fixture
async def client(home: House) -> AsyncIterator[SupervisorClient]:
    """The client as Home Assistant Core makes it."""
    async with calling(home.system, Principal("core", "homeassistant", Role.ADMIN)) as client:
        yield client


async def write(home: House, value: str) -> None:
    await asyncio.to_thread((home.data / "share" / "value").write_text, value)


async def value(home: House) -> str:
    return await asyncio.to_thread((home.data / "share" / "value").read_text)


async def test_everything_is_put_back(client: SupervisorClient, home: House) -> None:
    made = checked(await client.backups.full_backup(FullBackupOptions(name="All", password="a word")))
    assert made.slug is not None
    await write(home, "new")

    job = checked(await client.backups.full_restore(made.slug, FullRestoreOptions(password="a word")))

    assert (await home.system.jobs.get(job.job_id.hex)).name == "backup_manager_full_restore"
    assert await value(home) == "old"


async def test_parts_are_put_back_as_core_does_it(client: SupervisorClient, home: House) -> None:
    made = await client.backups.partial_backup(PartialBackupOptions(addons={HELLO}, folders={Folder.SHARE}))
    assert made.slug is not None
    await write(home, "new")
    wanted = PartialRestoreOptions(
        addons={HELLO}, folders={Folder.SHARE}, homeassistant=False, background=True, location=".local"
    )

    job = checked(await client.backups.partial_restore(made.slug, wanted))
    await until_quiet(home)

    assert (await home.system.jobs.get(job.job_id.hex)).done
    assert await value(home) == "old"


async def test_wrong_password_is_told_in_the_words_that_core_looks_for(client: SupervisorClient) -> None:
    made = await client.backups.partial_backup(PartialBackupOptions(folders={Folder.SHARE}, password="a word"))
    assert made.slug is not None

    with pytest.raises(refusals.SupervisorBadRequestError, match="Invalid password for backup"):
        await client.backups.partial_restore(made.slug, PartialRestoreOptions(folders={Folder.SHARE}, password="no"))
