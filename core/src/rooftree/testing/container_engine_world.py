"""What the promises of container engines are tried on: an engine, and what is around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from rooftree.interfaces.containers import (
    ContainerChanged,
    ContainerEngine,
    ContainerSpec,
    DataPath,
)

type Program = Literal["waits", "exits with 5", "prints one two three", "echoes its input"]
"""What a container of the contract does. ``prints one two three`` writes three lines and then waits."""

NAME = "app_contract"
WITHIN_S = 20.0
"""Seconds that something may take which happens by itself."""
PAUSE_S = 0.02


class World(Protocol):
    """The engine under test and what is around it."""

    @property
    def engine(self) -> ContainerEngine:
        """The engine, which has nothing of this instance yet."""
        ...

    published: str
    """An image, ``name:tag``, that its registry has and the engine has not."""
    unpublished: str
    """One of the same registry that does not exist."""
    free_port: int
    """A port of the host that nobody uses."""

    def spec(self, program: Program = "waits", **more: Any) -> ContainerSpec:
        """A container called :data:`NAME` of an image that the engine has; ``more`` are further fields."""
        ...

    async def folder(self, files: Mapping[str, str]) -> DataPath:
        """A folder in the data folder with these texts. ``FROM base`` in a Dockerfile is an image the engine has."""
        ...

    async def changes(self, count: int) -> list[ContainerChanged]:
        """What was published about containers, once it is that much."""
        ...

    async def add_stranger(self, name: str) -> None:
        """Make a container that has the name ``name`` has for us and belongs to somebody else."""
        ...

    async def go_away(self) -> None:
        """Let the engine stop answering; returns when ``EngineLost`` was published."""
        ...

    async def come_back(self) -> None:
        """Let it answer again; returns when ``EngineConnected`` was published."""
        ...
