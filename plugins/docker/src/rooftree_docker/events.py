"""The engine's events, watched for as long as the daemon runs.

The stream is read anew whenever it ends, with growing pauses. A ping beside it notices an engine that hangs, whose
stream would only fall silent. What happened while nobody was listening is not made up for here: consumers look for
themselves at every :class:`~rooftree.interfaces.containers.EngineConnected`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Literal

import structlog

from rooftree.errors import RooftreeError
from rooftree.events import Event
from rooftree.interfaces.containers import ContainerChanged, EngineConnected, EngineLost, EngineUnavailable
from rooftree_docker.engine_client import EngineClient, Json, json_lines
from rooftree_docker.inspection import health_of
from rooftree_docker.specification import Naming

log = structlog.get_logger(__name__)


class EventWatch:
    """Publishes what happens to the engine and to this instance's containers."""

    def __init__(self, client: EngineClient, naming: Naming, publish: Callable[[Event], None]) -> None:
        self._client = client
        self._naming = naming
        self._publish = publish
        self._connected: bool | None = None

    async def run(self) -> None:
        deadlines = self._client.deadlines
        pause = deadlines.first_retry
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read())
                    group.create_task(self._heartbeat())
            except* RooftreeError as errors:
                self._lost(str(errors.exceptions[0]))
                if self._connected:
                    pause = deadlines.first_retry
            self._connected = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, deadlines.last_retry)

    async def _read(self) -> None:
        filters = json.dumps({"type": ["container"], **self._naming.filter})
        async with self._client.stream("report its events", "GET", "events", params={"filters": filters}) as response:
            self._connected = True
            log.info("engine_connected", engine=self._client.url)
            self._publish(EngineConnected())
            async for message in json_lines(response):
                change = container_change(message, self._naming)
                if change is not None:
                    self._publish(change)
            raise EngineUnavailable(f"The container engine at {self._client.url} ended its event stream.")

    async def _heartbeat(self) -> None:
        seconds = self._client.deadlines.heartbeat
        while True:
            await asyncio.sleep(seconds)
            await self._client.ping()

    def _lost(self, reason: str) -> None:
        self._client.lost()
        if self._connected is False:
            return  # said already
        log.warning("engine_lost", engine=self._client.url, reason=reason)
        self._publish(EngineLost(reason))


def container_change(message: Json, naming: Naming) -> ContainerChanged | None:
    """The event in one of the engine's messages, or ``None`` for what nobody asked about."""
    if message.get("Type") != "container":
        return None
    actor = message.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    name = naming.name_of(attributes.get("name", ""), attributes)
    if name is None or not naming.is_ours(attributes):
        return None
    action, _, detail = str(message.get("Action", "")).partition(": ")
    kind: Literal["start", "die", "destroy", "health"]
    match action:
        case "start" | "die" | "destroy":
            kind = action
        case "health_status":
            kind = "health"
        case _:
            return None
    exit_code = attributes.get("exitCode", "")
    return ContainerChanged(
        name=name,
        id=actor.get("ID", ""),
        action=kind,
        exit_code=int(exit_code) if kind == "die" and exit_code.lstrip("-").isdigit() else None,
        health=health_of(detail),
    )
