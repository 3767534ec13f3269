"""The docker domain's routes."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from rooftree import Invalid, NotFound, Role, Routes, Unset, role
from rooftree.interfaces.callers import OBSERVER
from rooftree_docker.models import DockerInfo, DockerOptionsChange, RegistryList, ShownLogin
from rooftree_docker.options import Docker
from rooftree_docker.registry_logins import NewLogin, RegistryHost

routes = Routes()
MANAGER = role(Role.MANAGER)
ADMIN = role(Role.ADMIN)


@routes.get("/docker/info", access=role(Role.DEFAULT) | OBSERVER)
async def info(docker: Docker) -> DockerInfo:
    """Facts about the container engine."""
    facts = await docker.engine.info()
    return DockerInfo(
        version=facts.version,
        enable_ipv6=docker.options.enable_ipv6,
        mtu=docker.options.mtu,
        storage=facts.storage,
        logging=facts.logging,
        registries=_shown(docker),
    )


def _shown(docker: Docker) -> dict[str, ShownLogin]:
    return {host: ShownLogin(username) for host, username in docker.logins.usernames.items()}


@routes.post("/docker/options", access=MANAGER)
async def set_options(docker: Docker, body: DockerOptionsChange) -> None:
    """Change how the add-on network is made; null goes back to the usual."""
    if isinstance(body.enable_ipv6, Unset) and isinstance(body.mtu, Unset):
        raise Invalid("Send enable_ipv6, mtu, or both")
    await docker.set_options(enable_ipv6=body.enable_ipv6, mtu=body.mtu)


@routes.get("/docker/registries", access=MANAGER)
def registries(docker: Docker) -> RegistryList:
    """The registries that a login is stored for; passwords are never shown."""
    return RegistryList(_shown(docker))


@routes.post("/docker/registries", access=MANAGER)
async def store_logins(docker: Docker, body: dict[RegistryHost, NewLogin]) -> None:
    """Store logins by the registries' host names; hub.docker.com and docker.io are Docker Hub."""
    await docker.logins.store(body)


@routes.delete("/docker/registries/{registry}", access=MANAGER)
async def forget_login(docker: Docker, registry: RegistryHost) -> None:
    """Forget a login."""
    await docker.logins.forget(registry)


@frozen
class StorageDriverChange:
    """The storage driver that is wanted."""

    storage_driver: Literal["overlayfs", "overlay2"]


@routes.post("/docker/migrate-storage-driver", access=MANAGER, refuses=(NotFound,))
def migrate_storage_driver(body: StorageDriverChange) -> None:
    """Plan another storage driver for the next boot: only Home Assistant OS can, which is not what runs here."""
    raise NotFound(
        f"Only Home Assistant OS 17.0 and later moves its images to {body.storage_driver} at the next boot. Here the "
        "engine is the operator's: set storage-driver in /etc/docker/daemon.json"
    )
