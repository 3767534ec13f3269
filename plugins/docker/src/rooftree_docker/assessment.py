"""What kind of engine this is, and what can't be done with it: said once, instead of failing somewhere later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from rooftree_docker.engine_client import Json

READABLE_LOGS: Final = frozenset({"json-file", "local", "journald"})
"""Log drivers whose logs the engine gives back; newer engines keep a copy of the others' (dual logging)."""
SLOW_STORAGE: Final = frozenset({"vfs", "devicemapper", "aufs"})


@frozen
class Remark:
    """One thing that limits what can be done."""

    kind: str
    """A stable word."""
    message: str


def assess(info: Json, version: Json) -> Sequence[Remark]:
    """What there is to say of an engine, from its ``/info`` and ``/version``."""
    return [*_of_kind(info, version), *_of_configuration(info)]


def _of_kind(info: Json, version: Json) -> Iterator[Remark]:
    names = {str(component.get("Name", "")) for component in version.get("Components") or ()}
    if any(name.startswith("Podman") for name in names):
        yield Remark(
            "podman",
            "The engine is Podman, by its Docker-compatible socket. Add-ons run; building with a login at a registry, "
            "the history of events and health checks differ from Docker's, and nobody tests that. Prefer Docker Engine",
        )
    security = _security(info)
    if "rootless" in security:
        yield Remark(
            "rootless",
            "The engine runs without root: add-ons get no devices, no host network and no ports below 1024, and their "
            "files belong to other users. Use an engine that runs as root for add-ons that need any of these",
        )
    if "userns" in security:
        yield Remark(
            "userns",
            "The engine maps users (userns-remap): add-ons that ask for the host's network or processes are refused, "
            "and files in the data folder belong to other users. Switch userns-remap off in /etc/docker/daemon.json",
        )


def _of_configuration(info: Json) -> Iterator[Remark]:
    driver = str(info.get("LoggingDriver") or "")
    if driver == "none":
        yield Remark(
            "logging",
            "The engine keeps no logs (log driver none), so add-ons have none to show. Set log-driver to journald, "
            "local or json-file in /etc/docker/daemon.json",
        )
    elif driver not in READABLE_LOGS:
        yield Remark(
            "logging",
            f"The engine sends logs elsewhere (log driver {driver}). They are shown only where it keeps a copy for "
            "itself; journald, local and json-file always work",
        )
    storage = str(info.get("Driver") or "")
    if storage in SLOW_STORAGE:
        yield Remark(
            "storage",
            f"The engine's storage driver {storage} is slow and takes much room. Set storage-driver to overlay2 in "
            "/etc/docker/daemon.json; images are fetched again",
        )
    if info.get("MemoryLimit") is False:
        yield Remark(
            "memory",
            "The engine cannot tell how much memory a container uses. Switch the memory control group on: "
            "cgroup_enable=memory on the kernel's command line",
        )


def _security(info: Json) -> frozenset[str]:
    """The names of the security options: ``rootless`` from ``name=rootless``, whatever else stands behind it."""
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    pairs: list[Mapping[str, Any]] = [dict(part.split("=", 1) for part in o.split(",") if "=" in part) for o in options]
    return frozenset(str(pair.get("name")) for pair in pairs)
