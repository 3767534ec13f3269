"""Where the data folder lies for the engine, which may see another file system than we do.

On a host both are the same. When the daemon runs in a container, a folder that it knows as ``/data`` is something else
on the engine's host: its own container, as the engine describes it, tells what. This module finds that container and
translates.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Final

import structlog
from attrs import frozen

from rooftree.errors import Unavailable
from rooftree.interfaces.containers import DataPath, HostPath
from rooftree_docker.engine_client import Json
from rooftree_files import Folder

log = structlog.get_logger(__name__)

# The engine mounts these three from a folder named after the container. Its other mounts carry container ids too, and
# are visible on the host itself.
_OWN_FILES: Final = re.compile(r"/containers/([0-9a-f]{64})/\S* /etc/(?:hostname|hosts|resolv\.conf) ")
_CONTROL_GROUP: Final = re.compile(r"\b(?:docker[-/])([0-9a-f]{64})\b")
_SHORT_ID: Final = re.compile(r"[0-9a-f]{12}")


@frozen
class BindSource:
    """A path on the engine's host."""

    path: str
    propagates: bool
    """Whether mounts made below it later can be passed on to a container (``rslave``)."""


@frozen(kw_only=True)
class OwnMount:
    """A mount of the daemon's own container."""

    source: PurePosixPath
    destination: PurePosixPath
    propagates: bool


@frozen(kw_only=True)
class OwnContainer:
    """The container the daemon runs in."""

    id: str
    mounts: tuple[OwnMount, ...]
    host_network: bool
    addresses: dict[str, str]
    """Its address on each network, by the network's name."""

    def translate(self, path: PurePosixPath) -> BindSource | None:
        """What ``path`` inside is called on the engine's host; ``None`` when no mount covers it."""
        covering = [mount for mount in self.mounts if path.is_relative_to(mount.destination)]
        if not covering:
            return None
        mount = max(covering, key=lambda mount: len(mount.destination.parts))
        return BindSource(str(mount.source / path.relative_to(mount.destination)), mount.propagates)


class DataFolder:
    """The data folder, as we see it and as the engine sees it.

    :param folder: the data folder in our own file system
    :param inspect: the engine's description of a container, or ``None`` when it has no such container
    """

    def __init__(self, folder: Path, inspect: Callable[[str], Awaitable[Json | None]]) -> None:
        self._folder = folder
        self._inspect = inspect
        self._looked = False
        self._own: OwnContainer | None = None

    async def own_container(self) -> OwnContainer | None:
        """The container we run in, or ``None`` on a host. Asked of the engine once."""
        if not self._looked:
            for candidate in await asyncio.to_thread(_own_container_ids):
                details = await self._inspect(candidate)
                if details is not None and details["Id"].startswith(candidate):
                    self._own = own_container(details)
                    log.info("daemon_runs_in_container", container=self._own.id[:12])
                    break
            self._looked = True
        return self._own

    def open(self, path: DataPath | HostPath) -> Folder:
        """The folder at ``path``, open, the caller's to close; below the data folder no link is followed. Blocks."""
        if isinstance(path, HostPath):
            return Folder.open(path.path)
        with Folder.open(self._folder) as root:
            return root.folder(path.path)

    async def bind_source(self, path: DataPath | HostPath) -> BindSource:
        """``path`` on the engine's host. Raises ``Unavailable`` when the data folder is not shared with the host."""
        own = await self.own_container()
        local = await asyncio.to_thread(lambda: self._folder.resolve() / path.path)  # ours: its parents are root's
        if own is None:
            source = str(local) if isinstance(path, DataPath) else path.path
            return BindSource(source, await asyncio.to_thread(_propagates, PurePosixPath(source)))
        if isinstance(path, HostPath):
            return BindSource(path.path, propagates=True)
        source_on_host = own.translate(PurePosixPath(local))
        if source_on_host is None:
            raise Unavailable(
                f"Rooftree runs in the container {own.id[:12]}, whose folder {self._folder} is not mounted from the "
                "engine's host, so add-ons cannot share it. Start the container with a volume or a folder there."
            )
        return source_on_host


def own_container(described: Json) -> OwnContainer:
    """What matters of the engine's description of our own container."""
    networks = (described.get("NetworkSettings") or {}).get("Networks") or {}
    return OwnContainer(
        id=described["Id"],
        mounts=tuple(
            OwnMount(
                source=PurePosixPath(mount["Source"]),
                destination=PurePosixPath(mount["Destination"]),
                propagates=mount.get("Propagation") in {"shared", "rshared", "slave", "rslave"},
            )
            for mount in described.get("Mounts") or ()
            if mount.get("Source")
        ),
        host_network=(described.get("HostConfig") or {}).get("NetworkMode") == "host",
        addresses={name: network["IPAddress"] for name, network in networks.items() if network.get("IPAddress")},
    )


def container_ids_in(mountinfo: str, cgroup: str, hostname: str) -> list[str]:
    """Ids (or beginnings of ids) that may be our own container's, the surest first; empty on a host."""
    candidates = [*_OWN_FILES.findall(mountinfo), *_CONTROL_GROUP.findall(cgroup)]
    if _SHORT_ID.fullmatch(hostname):
        candidates.append(hostname)
    return list(dict.fromkeys(candidates))


def mount_propagates(mountinfo: str, path: PurePosixPath) -> bool:
    """Whether the mount that holds ``path`` is shared or a slave of one, by ``/proc/self/mountinfo``."""
    best, propagates = -1, False
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        point = PurePosixPath(fields[4].encode().decode("unicode_escape"))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best = len(point.parts)
            options = fields[6 : fields.index("-")]
            propagates = any(option.startswith(("shared:", "master:")) for option in options)
    return propagates


def _own_container_ids() -> list[str]:
    return container_ids_in(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup"), socket.gethostname())


def _propagates(path: PurePosixPath) -> bool:
    return mount_propagates(_read("/proc/self/mountinfo"), path)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")  # ours: the kernel's
    except OSError:
        return ""  # not Linux, or /proc is hidden: then nothing says that we are in a container
