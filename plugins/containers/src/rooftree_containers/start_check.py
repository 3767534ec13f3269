"""Whether a container can be started, as far as that can be known while what it is to replace still runs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from rooftree import Failed, RooftreeError
from rooftree.interfaces.containers import ContainerSpec, DataPath
from rooftree_containers.managed import ManagedContainer
from rooftree_containers.managed_containers import ManagedContainers
from rooftree_containers.words import sentence
from rooftree_files import Folder


class MountSourceMissing(Failed):
    """What is to be shown to a container is not there. ``extra_fields``: ``path``, below the data folder."""

    status = 400
    error_key = "container_mount_source_error"


async def refuse_unstartable(containers: ManagedContainers, container: ManagedContainer) -> None:
    """Raise why a container can't be started as it is described: options, ports, devices, folders, what other domains
    have to add. Changes nothing."""
    await container.refuse()
    await container.refuse_conflicts()
    spec = await containers.lifetimes.specification(container)
    missing = await asyncio.to_thread(_missing_source, containers.kernel.data.path, spec, container.makes)
    if missing is not None:
        title = sentence(containers.domain.title(container.name))
        raise MountSourceMissing(
            f"{title} is to be shown {missing}, which is not there. Put it back, or take away what asks for it",
            path=missing,
        )


def _missing_source(data: Path, spec: ContainerSpec, own_paths: Collection[str]) -> str | None:
    """Of what lies below the data folder; paths of the host are the engine's to look up."""
    paths = [mount.source.path for mount in spec.mounts if isinstance(mount.source, DataPath)]
    with Folder.open(data) as root:
        return next((path for path in paths if path not in own_paths and not _is_there(root, path)), None)


def _is_there(root: Folder, path: str) -> bool:
    try:
        return root.status(path) is not None
    except (RooftreeError, OSError):
        return False
