"""An image and a container of :class:`~rooftree.testing.containers.FakeContainerEngine`: what the program in them does,
and what the engine says of them and of itself."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from attrs import Factory, field, frozen, mutable

from rooftree.interfaces.containers import (
    Container,
    ContainerChanged,
    ContainerSpec,
    ContainerStats,
    ContainerStatus,
    EngineInfo,
    Health,
    Image,
    LogLine,
)

type Change = Literal["start", "die", "destroy", "health"]

SIGTERM_EXIT = 143
"""How a program ends that does nothing about SIGTERM: 128 and the signal's number."""
SIGKILL_EXIT = 137
ARCHITECTURE = "amd64"
"""Of the engine: it fetches no image that is made for another."""
FACTS = EngineInfo(
    version="0.0.fake",
    api_version="1.41",
    storage="memory",
    logging="json-file",
    cgroup="2",
    architecture=ARCHITECTURE,
    operating_system="none",
    root_dir="/nowhere",
)
READING = ContainerStats(
    cpu_percent=1.5,
    memory_usage=1024,
    memory_limit=4096,
    memory_percent=25.0,
    network_rx=10,
    network_tx=20,
    blk_read=30,
    blk_write=40,
)
"""What every container uses."""


def new_image_id() -> str:
    """An id like those of the real engine."""
    return f"sha256:{secrets.token_hex(32)}"


@frozen(kw_only=True)
class FakeImage:
    """An image, and what the program in it does."""

    size: int = 1_000_000
    architecture: str = ARCHITECTURE
    health_check: bool = False
    """Containers are ``STARTING`` until :meth:`FakeContainerEngine.set_health` says otherwise."""
    exit_code: int | None = None
    """Containers end with it as soon as they are started; ``None``: they run until they are stopped."""
    stop_exit_code: int = SIGTERM_EXIT
    """What they end with when they are stopped."""
    prints: tuple[str, ...] = ()
    """What they write as soon as they are started."""
    echoes: bool = False
    """Whether they write what they read from their standard input."""
    labels: Mapping[str, str] = Factory(dict)
    environment: Mapping[str, str] = Factory(dict)
    id: str = field(factory=new_image_id)


def shown_image(image: FakeImage, tags: tuple[str, ...], digests: tuple[str, ...]) -> Image:
    """What the engine says of an image that has these names."""
    return Image(
        id=image.id,
        tags=tags,
        architecture=image.architecture,
        size=image.size,
        has_health_check=image.health_check,
        digests=digests,
        labels=dict(image.labels),
        environment=dict(image.environment),
    )


@mutable(kw_only=True)
class KeptContainer:
    """A container that the engine has."""

    id: str
    spec: ContainerSpec
    image: FakeImage
    address: str
    log_driver: str
    status: ContainerStatus = ContainerStatus.CREATED
    health: Health = Health.NONE
    exit_code: int | None = None
    started_at: datetime | None = None
    lines: list[LogLine] = Factory(list)
    news: asyncio.Event = Factory(asyncio.Event)

    @property
    def running(self) -> bool:
        """Whether the program in it runs."""
        return self.status is ContainerStatus.RUNNING

    @property
    def ports(self) -> set[tuple[int, str]]:
        """What it takes of the host, as number and protocol."""
        return {(port.host, port.protocol) for port in self.spec.ports}

    def begin(self) -> None:
        """The program in it begins."""
        self.status, self.exit_code = ContainerStatus.RUNNING, None
        self.health = Health.STARTING if self.image.health_check else Health.NONE
        self.started_at = datetime.now(UTC)

    def end(self, exit_code: int) -> None:
        """The program in it ends, and with it the log."""
        self.status, self.exit_code, self.health = ContainerStatus.EXITED, exit_code, Health.NONE
        self.tell()

    def write(
        self, lines: Iterable[bytes], stream: Literal["stdout", "stderr"] = "stdout", at: datetime | None = None
    ) -> None:
        """It writes lines; now, unless ``at`` says when it was."""
        self.lines += [LogLine(time=at or datetime.now(UTC), stream=stream, text=line) for line in lines]
        self.tell()

    def tell(self) -> None:
        """Wake whoever follows the log."""
        news, self.news = self.news, asyncio.Event()
        news.set()

    def change(self, action: Change) -> ContainerChanged:
        """The event that tells of what happened to it."""
        code = self.exit_code if action == "die" else None
        health = self.health if action == "health" else Health.NONE
        return ContainerChanged(self.spec.name, self.id, action, code, health)

    def shown(self) -> Container:
        """What the engine says of it."""
        return Container(
            id=self.id,
            name=self.spec.name,
            image=self.spec.image,
            image_id=self.image.id,
            status=self.status,
            health=self.health,
            exit_code=self.exit_code,
            labels=dict(self.spec.labels),
            ip_address=self.address if self.running and self.spec.network == "addons" else None,
            on_host_network=self.spec.network == "host",
            started_at=self.started_at,
            log_driver=self.log_driver,
            ports=self.spec.ports,
        )
