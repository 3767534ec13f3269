"""Engines as they describe themselves, in shortened answers, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from rooftree_docker.assessment import assess

DOCKER_INFO: dict[str, Any] = {
    "Driver": "overlay2",
    "LoggingDriver": "json-file",
    "CgroupVersion": "1",
    "MemoryLimit": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
}
DOCKER_VERSION: dict[str, Any] = {
    "Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}, {"Name": "containerd"}]
}
ROOTLESS = ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]
PODMAN_VERSION: dict[str, Any] = {"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}, {"Name": "Conmon"}]}


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"CgroupVersion": "2", "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"]},
        {"LoggingDriver": "journald", "Driver": "overlayfs"},
        {"Driver": "btrfs", "LoggingDriver": "local"},
        {"SecurityOptions": None},
    ],
)
def test_engine_on_which_everything_works_is_not_remarked_on(info: dict[str, Any]) -> None:
    assert assess(DOCKER_INFO | info, DOCKER_VERSION) == []


@pytest.mark.parametrize(
    ("info", "version", "kind", "says"),
    [
        ({"SecurityOptions": ROOTLESS}, DOCKER_VERSION, "rootless", "no ports below 1024"),
        ({"SecurityOptions": ["name=userns"]}, DOCKER_VERSION, "userns", "userns-remap off"),
        ({}, PODMAN_VERSION, "podman", "Prefer Docker Engine"),
        ({"LoggingDriver": "none"}, DOCKER_VERSION, "logging", "keeps no logs"),
        ({"LoggingDriver": "syslog"}, DOCKER_VERSION, "logging", "log driver syslog"),
        ({"Driver": "vfs"}, DOCKER_VERSION, "storage", "storage-driver to overlay2"),
        ({"MemoryLimit": False}, DOCKER_VERSION, "memory", "cgroup_enable=memory"),
    ],
)
def test_what_limits_an_engine_is_said_with_what_to_do(
    info: dict[str, Any], version: dict[str, Any], kind: str, says: str
) -> None:
    (remark,) = assess(DOCKER_INFO | info, version)

    assert remark.kind == kind
    assert says in remark.message


def test_several_limits_are_all_said() -> None:
    info = DOCKER_INFO | {"SecurityOptions": ROOTLESS, "Driver": "vfs", "LoggingDriver": "none"}

    assert [remark.kind for remark in assess(info, PODMAN_VERSION)] == ["podman", "rootless", "logging", "storage"]
