"""The data folder is found on the engine's host, from a host and from inside a container."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from rooftree.errors import Unavailable
from rooftree.interfaces.containers import DataPath, HostPath
from rooftree_docker import data_folder
from rooftree_docker.data_folder import DataFolder, container_ids_in, mount_propagates
from rooftree_files import PathRefused

ID = "ab" * 32
OWN_MOUNTINFO = f"""\
22 27 0:21 / /proc rw,relatime - proc proc rw
600 590 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw
"""
HOST_MOUNTINFO = f"""\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 27 0:40 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw
42 27 254:0 /data /mnt/private\\040place rw,relatime - ext4 /dev/vda rw
43 27 254:0 /data /mnt/slave rw,relatime master:3 - ext4 /dev/vda rw
"""


def described(*mounts: dict[str, str]) -> dict[str, Any]:
    return {"Id": ID, "Mounts": list(mounts), "HostConfig": {"NetworkMode": "hassio"}, "NetworkSettings": {}}


def folder_in_container(monkeypatch: pytest.MonkeyPatch, folder: Path, answer: dict[str, Any] | None) -> DataFolder:
    async def inspect(_: str) -> dict[str, Any] | None:
        return answer

    monkeypatch.setattr(data_folder, "_own_container_ids", lambda: [ID])
    return DataFolder(folder, inspect)


def test_own_container_is_read_from_its_hostname_file() -> None:
    assert container_ids_in(OWN_MOUNTINFO, "0::/", "hello") == [ID]


def test_own_container_is_read_from_its_control_group() -> None:
    assert container_ids_in("", f"4:memory:/docker/{ID}\n", "hello") == [ID]
    assert container_ids_in("", f"0::/system.slice/docker-{ID}.scope\n", "hello") == [ID]


def test_host_that_sees_mounts_of_containers_is_no_container() -> None:
    assert container_ids_in(HOST_MOUNTINFO, "0::/system.slice/rooftree.service", "homeassistant") == []


async def test_path_is_translated_through_the_closest_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = described(
        {"Source": "/srv/rooftree", "Destination": str(tmp_path), "Propagation": "rslave"},
        {"Source": "/mnt/big", "Destination": f"{tmp_path}/share", "Propagation": "rprivate"},
    )
    folder = folder_in_container(monkeypatch, tmp_path, answer)

    data = await folder.bind_source(DataPath("apps/data/x"))
    share = await folder.bind_source(DataPath("share/y"))

    assert (data.path, data.propagates) == ("/srv/rooftree/apps/data/x", True)
    assert (share.path, share.propagates) == ("/mnt/big/y", False)


async def test_folder_that_is_not_mounted_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = folder_in_container(monkeypatch, tmp_path, described())

    with pytest.raises(Unavailable, match="not mounted from the engine's host"):
        await folder.bind_source(DataPath("x"))


async def test_container_of_another_engine_counts_as_a_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = folder_in_container(monkeypatch, tmp_path, None)

    assert await folder.own_container() is None
    assert (await folder.bind_source(DataPath("x"))).path == f"{tmp_path}/x"
    assert (await folder.bind_source(HostPath("/dev"))).path == "/dev"


def test_folder_is_opened_without_following_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = folder_in_container(monkeypatch, tmp_path, None)
    (tmp_path / "real").mkdir()
    (tmp_path / "evil").symlink_to("/etc")
    (tmp_path / "near").symlink_to("real")

    with folder.open(DataPath("real")) as real:
        assert real.names() == []
    for link in ("evil", "near", "evil/apt"):
        with pytest.raises(PathRefused, match="link"):
            folder.open(DataPath(link))


def test_shared_and_slave_mounts_propagate() -> None:
    assert mount_propagates(HOST_MOUNTINFO, PurePosixPath("/srv/x"))
    assert mount_propagates(HOST_MOUNTINFO, PurePosixPath("/mnt/slave/x"))
    assert not mount_propagates(HOST_MOUNTINFO, PurePosixPath("/mnt/private place/x"))
