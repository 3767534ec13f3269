"""The official client's calls for mounts: each kind of them, in the versions that Core may have.

What can be mounted here are folders that stand for shares (``tests/rig/mount_share.py``), and a real disk in a file.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePath

import aiohasupervisor.exceptions as refusals
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import (
    CIFSMountRequest,
    DiskMountRequest,
    MountsOptions,
    NFSMountRequest,
)
from aiohasupervisor.models.mounts import MountCifsVersion, MountState, MountUsage

from rooftree import Principal, Role
from rooftree.testing import running_system
from rooftree_mounts.plugin import MountsPlugin
from tests.contract.client_answers import Used, checked, methods_of
from tests.contract.test_official_client import calling
from tests.plugins.mounts.conftest import Shares, shares

__all__ = ["shares"]  # a fixture

CIFS = CIFSMountRequest(
    usage=MountUsage.BACKUP, server="nas", share="films", username="ha", password="secret",
    version=MountCifsVersion.LEGACY_2_0, port=1445, read_only=False,
)  # fmt: skip
NFS = NFSMountRequest(usage=MountUsage.MEDIA, server="nas", path=PurePath("/films"), read_only=True)


@pytest.fixture
async def client(tmp_path: Path, shares: Shares) -> AsyncIterator[SupervisorClient]:
    """The client as Home Assistant Core makes it."""
    shares.add("films")
    shares.add("/films")
    async with (
        running_system(tmp_path, plugins=[MountsPlugin]) as system,
        calling(system, Principal("core", "homeassistant", Role.ADMIN)) as client,
    ):
        yield client


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A disk with a file system; its node."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    shown = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    node = shown.stdout.strip()
    yield node
    subprocess.run(["losetup", "--detach", node], check=True)


def test_every_call_is_made() -> None:
    assert methods_of("mounts") - Used.by(Path(__file__)).methods == set()


async def test_shares_are_mounted_listed_changed_and_removed(client: SupervisorClient) -> None:
    await client.mounts.create_mount("nas", CIFS)
    await client.mounts.create_mount("films", NFS)

    info = checked(await client.mounts.info())
    films, nas = info.mounts
    assert (nas.name, nas.state, nas.user_path, nas.version) == (
        "nas", MountState.ACTIVE, None, MountCifsVersion.LEGACY_2_0,
    )  # fmt: skip
    assert (nas.server, nas.port, nas.share) == ("nas", 1445, "films")
    assert (films.path, films.read_only, films.user_path) == (PurePath("/films"), True, PurePath("/media/films"))
    assert info.default_backup_mount == "nas"

    await client.mounts.options(MountsOptions(default_backup_mount=None))
    await client.mounts.update_mount(
        "films", NFSMountRequest(usage=MountUsage.SHARE, server="nas", path=PurePath("films"))
    )
    await client.mounts.reload_mount("films")
    await client.mounts.delete_mount("nas")

    (films,) = checked(await client.mounts.info()).mounts
    assert (films.usage, films.user_path, films.port) == (MountUsage.SHARE, PurePath("/share/films"), None)
    await client.mounts.delete_mount("films")


async def test_disks_are_mounted_by_device_and_by_uuid(client: SupervisorClient, disk: str) -> None:
    await client.mounts.create_mount("films", DiskMountRequest(usage=MountUsage.MEDIA, device=disk))

    (films,) = checked(await client.mounts.info()).mounts
    assert (films.type, films.filesystem, films.user_path) == ("disk", "ext4", PurePath("/media/films"))

    await client.mounts.delete_mount("films")
    await client.mounts.create_mount("again", DiskMountRequest(usage=MountUsage.BACKUP, uuid=films.uuid))
    assert checked(await client.mounts.info()).mounts[0].uuid == films.uuid
    await client.mounts.delete_mount("again")


async def test_refusals_are_those_of_the_reference(client: SupervisorClient) -> None:
    for call, kind in (
        (client.mounts.reload_mount("gone"), refusals.SupervisorNotFoundError),
        (client.mounts.delete_mount("gone"), refusals.SupervisorNotFoundError),
        (client.mounts.update_mount("gone", NFS), refusals.SupervisorNotFoundError),
        (client.mounts.options(MountsOptions(default_backup_mount="gone")), refusals.MountNotFoundError),
        (client.mounts.create_mount("a b", NFS), refusals.SupervisorBadRequestError),
        (client.mounts.create_mount("x", DiskMountRequest(usage=MountUsage.MEDIA, device="/dev/none")),
         refusals.MountDeviceNotFoundError),
    ):  # fmt: skip
        with pytest.raises(kind):
            await call
