"""Taking a container away for good."""

from __future__ import annotations

from aiodocker import Docker
from aiodocker.exceptions import DockerError

from rooftree_docker.engine_client import EngineClient


async def delete_container(client: EngineClient, container_id: str, name: str, deadline_s: float) -> None:
    """Delete a container with its anonymous volumes, running or not. Nothing to do when it is gone.

    :param name: its logical name
    """
    async with client.call(f"remove the container {name}", deadline=deadline_s) as docker:
        container = docker.containers.container(container_id)
        try:
            await container.delete(force=True, v=True)
        except DockerError as error:
            if error.status == 409:  # somebody removes it already: gone is gone
                await _gone(container_id, docker)
            elif error.status != 404:
                raise


async def _gone(container_id: str, docker: Docker) -> None:
    try:
        await docker.containers.container(container_id).wait(condition="removed")
    except DockerError as error:
        if error.status != 404:
            raise
