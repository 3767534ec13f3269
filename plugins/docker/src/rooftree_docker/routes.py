"""The docker domain's routes."""

from __future__ import annotations

from rooftree import OBSERVER, Role, Routes, role
from rooftree.interfaces.containers import ContainerEngine
from rooftree_docker.models import DockerInfo

routes = Routes()


@routes.get("/docker/info", access=role(Role.DEFAULT) | OBSERVER)
async def info(engine: ContainerEngine) -> DockerInfo:
    """Facts about the container engine."""
    facts = await engine.info()
    return DockerInfo(
        version=facts.version,
        enable_ipv6=None,
        mtu=None,
        storage=facts.storage,
        logging=facts.logging,
        registries={},
    )
