"""A container engine in memory, for tests of plugins that run containers.

It keeps images, containers and their logs as the real one does, publishes the same events and raises the same errors;
:mod:`rooftree.testing.container_engine_contract` holds both to one set of promises. What a test cannot wait for in
reality is said to it: this call fails, that container crashes, the engine goes away::

    async def test_installing_fails_while_the_registry_is_gone(tmp_path):
        engine = FakeContainerEngine()
        async with running_system(tmp_path, plugins=[FakeEnginePlugin.serving(engine), MyPlugin]) as system:
            engine.fail("pull", PullFailed("The registry does not answer"))
            ...

Containers outlive the system, so starting a second one with the same engine is a restart of the daemon.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from attrs import Factory, evolve, field, frozen, mutable

from rooftree.errors import Conflict
from rooftree.events import Event, Task
from rooftree.interfaces.containers import (
    CONTAINER_ENGINE,
    AddonNetwork,
    BuildFailed,
    Container,
    ContainerChanged,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerSpec,
    ContainerStats,
    ContainerStatus,
    DataPath,
    EngineConnected,
    EngineInfo,
    EngineLost,
    EngineRefused,
    EngineUnavailable,
    ExecResult,
    Health,
    HostPath,
    Image,
    ImageForOtherPlatform,
    ImageImportRefused,
    ImageNotFound,
    LogLine,
    PortConflict,
    Progress,
)
from rooftree.plugins import Kernel, Plugin

type Verb = Literal[
    "info", "network", "pull", "build", "image", "tag_image", "remove_image", "export_image", "import_image",
    "containers", "container", "create",
    "start", "stop", "remove", "set_aside", "put_back", "drop_aside", "execute", "write_stdin", "logs", "stats",
]  # fmt: skip
"""The engine's calls, by name."""

SIGTERM_EXIT = 143
"""How a program ends that does nothing about SIGTERM: 128 and the signal's number."""
SIGKILL_EXIT = 137
ARCHITECTURE = "amd64"
"""Of the engine: it fetches no image that is made for another."""
BROKEN_INSTRUCTION = "RUN false"
"""A Dockerfile with this line cannot be built, here as in reality."""


def _new_id() -> str:
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
    id: str = field(factory=_new_id)


@mutable(kw_only=True)
class _Kept:
    """A container."""

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
        return self.status is ContainerStatus.RUNNING

    def write(
        self, lines: Iterable[bytes], stream: Literal["stdout", "stderr"] = "stdout", at: datetime | None = None
    ) -> None:
        self.lines += [LogLine(time=at or datetime.now(UTC), stream=stream, text=line) for line in lines]
        self.tell()

    def tell(self) -> None:
        """Wake whoever follows the log."""
        news, self.news = self.news, asyncio.Event()
        news.set()

    def shown(self) -> Container:
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


class Hold:
    """A call that waits inside the engine until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        """Set when the call has come in."""
        self._go = asyncio.Event()

    def release(self) -> None:
        """Let it go on."""
        self._go.set()

    async def wait(self) -> None:
        """Called by the engine."""
        self.reached.set()
        await self._go.wait()


class FakeContainerEngine:
    """:class:`~rooftree.interfaces.containers.ContainerEngine` in memory.

    :param publish: takes the events; :class:`FakeEnginePlugin` sets it to the system's bus
    :param data_dir: where a :class:`DataPath` lies; without it, folders are taken to be there
    """

    def __init__(self, publish: Callable[[Event], None] = lambda _: None, data_dir: Path | None = None) -> None:
        self.publish = publish
        self.data_dir = data_dir
        self.registry: dict[str, FakeImage] = {}
        """What can be pulled, by name and tag."""
        self._published: dict[str, FakeImage] = {}
        self.images: dict[str, FakeImage] = {}
        """What the engine has, by name and tag."""
        self.built: dict[str, Mapping[str, str]] = {}
        """The arguments of the latest build, by name and tag."""
        self.builds_what = FakeImage()
        """What the program in an image does that is built from now on."""
        self.calls: list[tuple[Verb, str]] = []
        """Every call that came in and what it was about (a container, an image, or nothing), in order."""
        self.occupied_ports: set[int] = set()
        """Ports of the host that something else listens on."""
        self.inputs: dict[str, bytes] = {}
        """What containers were given on their standard input."""
        self._exported: dict[bytes, FakeImage] = {}
        self.answers: dict[tuple[str, ...], ExecResult] = {("false",): ExecResult(exit_code=1, output=b"")}
        """What commands inside containers answer; every other succeeds without a word."""
        self.log_driver = "json-file"
        """Where containers that are made from now on are said to log to."""
        self.address: str | None = None
        """The address of containers that are made from now on, for servers of a test; unless told each has its own."""
        self.gateway = "172.30.32.1"
        """The host's address on the add-on network."""
        self._strangers: set[str] = set()
        self._kept: dict[str, _Kept] = {}
        self._aside: dict[str, _Kept] = {}
        self._failures: dict[Verb, deque[Exception]] = {}
        self._holds: dict[Verb, deque[Hold]] = {}
        self._gone: str | None = None
        self._addresses = 0

    # --- what a test says -------------------------------------------------------------------------------------------

    def publish_image(self, image: str, described: FakeImage | None = None) -> FakeImage:
        """Put ``name:tag`` into the registry, in place of what was there."""
        self.registry[image] = described or FakeImage()
        self._published[self.registry[image].id] = self.registry[image]
        return self.registry[image]

    def empty_registry(self) -> None:
        """Take everything out of the registry, what was published under another digest too."""
        self.registry.clear()
        self._published.clear()

    def load_image(self, image: str, described: FakeImage | None = None) -> FakeImage:
        """Give the engine ``name:tag`` without a pull."""
        self.images[image] = described or FakeImage()
        return self.images[image]

    def fail(self, verb: Verb, error: Exception, *, times: int = 1) -> None:
        """Let the next ``times`` calls of ``verb`` raise ``error``, before they do anything; a pull after its half."""
        self._failures.setdefault(verb, deque()).extend([error] * times)

    def hold(self, verb: Verb) -> Hold:
        """Let the next call of ``verb`` wait until it is released."""
        hold = Hold()
        self._holds.setdefault(verb, deque()).append(hold)
        return hold

    def add_stranger(self, name: str) -> None:
        """A container of that name which this installation did not make."""
        self._strangers.add(name)

    def crash(self, name: str, exit_code: int = 1) -> None:
        """The program in a running container ends."""
        self._end(self._must_run(name), exit_code)

    def set_health(self, name: str, health: Health) -> None:
        """A running container's health check comes to a verdict."""
        kept = self._must_run(name)
        kept.health = health
        self._tell(kept, "health")

    def write(
        self, name: str, *lines: str, stream: Literal["stdout", "stderr"] = "stdout", at: datetime | None = None
    ) -> None:
        """A container writes lines; now, unless ``at`` says when it was."""
        self._kept[name].write([line.encode() for line in lines], stream, at)

    def spec(self, name: str) -> ContainerSpec:
        """What a container was created from; raises ``KeyError``."""
        return self._kept[name].spec

    def go_away(self, reason: str = "it was stopped") -> None:
        """The engine stops answering; its containers run on."""
        self._gone = reason
        for kept in self._kept.values():
            kept.tell()
        self.publish(EngineLost(reason))

    def come_back(self, *, containers_ended: bool = False) -> None:
        """The engine answers again.

        :param containers_ended: its containers have ended meanwhile, as at a reboot of the host
        """
        if containers_ended:
            for kept in self._kept.values():
                if kept.running:
                    self._end(kept, SIGKILL_EXIT)
        self._gone = None
        self.publish(EngineConnected())

    # --- the engine itself ------------------------------------------------------------------------------------------

    @property
    def available(self) -> bool:
        """Whether the engine answers."""
        return self._gone is None

    async def info(self) -> EngineInfo:
        """Facts about the engine."""
        await self._enter("info")
        return EngineInfo(
            version="0.0.fake",
            api_version="1.41",
            storage="memory",
            logging=self.log_driver,
            cgroup="2",
            architecture=ARCHITECTURE,
            operating_system="none",
            root_dir="/nowhere",
        )

    async def network(self) -> AddonNetwork:
        """The add-on network."""
        await self._enter("network")
        return AddonNetwork(
            name="hassio",
            interface="fake-hassio",  # no machine's own: what listens there is no affair of a test
            subnet="172.30.32.0/23",
            gateway=self.gateway,
            supervisor="172.30.32.2",
        )

    async def host_path(self, path: DataPath) -> HostPath:
        """Where it lies: this engine sees what we see."""
        return HostPath(f"{self.data_dir or '/data'}/{path.path}")

    # --- images -----------------------------------------------------------------------------------------------------

    async def pull(self, image: str, *, platform: str | None = None) -> AsyncIterator[Progress]:
        """Fetch ``name:tag`` from :attr:`registry`, in four pieces."""
        self._answer("pull", image)
        image, _, digest = image.partition("@")
        published = self._published.get(digest) if digest else self.registry.get(image)
        if published is None:
            raise ImageNotFound(f"The registry has no image {image}.", image=image)
        if published.architecture != ARCHITECTURE:
            raise ImageForOtherPlatform(f"The image {image} is made for {published.architecture}", image=image)
        for quarter in range(4):
            yield Progress(done=quarter * published.size // 4, total=published.size)
            if quarter == 2:
                await self._hindered("pull")
        self.images[image] = published
        yield Progress(done=published.size, total=published.size)

    async def size_of_pull(self, image: str, *, platform: str | None = None) -> int | None:
        """The size of what was published."""
        published = self.registry.get(image)
        return published.size if published is not None else None

    async def build(
        self,
        image: str,
        context: DataPath | HostPath,
        *,
        dockerfile: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        platform: str | None = None,
    ) -> AsyncIterator[Progress]:
        """Build ``name:tag`` from a folder: an image that runs, unless its Dockerfile has a broken instruction."""
        await self._enter("build", image)
        instructions = await asyncio.to_thread(self._instructions, context, dockerfile)
        for number, instruction in enumerate(instructions):
            yield Progress(done=number, total=len(instructions), line=instruction)
            if instruction == BROKEN_INSTRUCTION:
                raise BuildFailed(f"Building {image} failed in {instruction}: it returned a non-zero code: 1")
        self.built[image] = dict(arguments)
        self.images[image] = evolve(self.builds_what, labels=dict(labels), id=_new_id())
        yield Progress(done=len(instructions), total=len(instructions))

    def _instructions(self, context: DataPath | HostPath, dockerfile: str) -> list[str]:
        folder = self._source(context)
        if folder is None:
            return []
        try:
            text = (folder / dockerfile).read_text()
        except FileNotFoundError:
            raise BuildFailed(f"There is no {dockerfile} in {context.path}") from None
        return [line.strip() for line in text.splitlines() if line.strip()]

    async def image(self, image: str) -> Image | None:
        """What the engine has under ``name:tag``, or ``None``."""
        await self._enter("image", image)
        known = self.images.get(image)
        if known is None:
            return None
        return Image(
            id=known.id,
            tags=tuple(name for name, other in self.images.items() if other.id == known.id),
            architecture=known.architecture,
            size=known.size,
            has_health_check=known.health_check,
            digests=tuple(
                f"{name.rpartition(':')[0]}@{known.id}"
                for name, published in self.registry.items()
                if published.id == known.id
            ),
            labels=dict(known.labels),
            environment=dict(known.environment),
        )

    async def tag_image(self, image: str, further: str) -> None:
        """Give an image another name too."""
        await self._enter("tag_image", image)
        if image not in self.images:
            raise ImageNotFound(f"The container engine has no image {image}", image=image)
        self.images[further] = self.images[image]

    async def remove_image(self, image: str) -> bool:
        """Take ``name:tag`` away. ``False`` when it was not there or a container still uses it."""
        await self._enter("remove_image", image)
        if image not in self.images or any(
            kept.spec.image == image for kept in (*self._kept.values(), *self._aside.values())
        ):
            return False
        del self.images[image]
        return True

    async def export_image(self, image: str, file: Path) -> None:
        """Write a file that stands for the image."""
        await self._enter("export_image", image)
        if image not in self.images:
            raise ImageNotFound(f"The container engine has no image {image}", image=image)
        content = f"{image} {self.images[image].id}".encode()
        self._exported[content] = self.images[image]
        await asyncio.to_thread(file.write_bytes, content)

    async def import_image(self, image: str, file: Path) -> None:
        """Take over what the file stands for; one that no fake engine wrote is an image like any other."""
        await self._enter("import_image", image)
        content = await asyncio.to_thread(file.read_bytes)
        exported = self._exported.get(content)
        if not content or (exported is not None and content.partition(b" ")[0] != image.encode()):
            raise ImageImportRefused(f"The file is no export of the image {image}", image=image)
        self.images[image] = exported or FakeImage()

    # --- containers -------------------------------------------------------------------------------------------------

    async def containers(self) -> Sequence[Container]:
        """Every container of this instance."""
        await self._enter("containers")
        return [kept.shown() for kept in self._kept.values()]

    async def container(self, name: str) -> Container | None:
        """The container of that logical name, or ``None``."""
        await self._enter("container", name)
        return self._kept[name].shown() if name in self._kept else None

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container; its id. One of that name of ours is replaced."""
        await self._enter("create", spec.name)
        if spec.name in self._strangers:
            raise Conflict(f"The engine has a container {spec.name} that this installation did not make")
        missing = await asyncio.to_thread(self._missing_source, spec)
        if missing is not None:
            raise EngineRefused(f"invalid mount config: bind source path does not exist: {missing}")
        self._take_away(spec.name)
        image = self.images.get(spec.image)
        if image is None:
            raise ImageNotFound(f"The container engine has no image {spec.image} for {spec.name}", image=spec.image)
        self._addresses += 1
        address = self.address or f"172.30.33.{self._addresses % 254 + 1}"
        self._kept[spec.name] = _Kept(
            id=secrets.token_hex(32), spec=spec, image=image, address=address, log_driver=self.log_driver
        )
        return self._kept[spec.name].id

    async def start(self, name: str) -> None:
        """Start it; nothing to do when it runs."""
        await self._enter("start", name)
        kept = self._ours(name)
        if kept.running:
            return
        self._refuse_taken_ports(kept)
        kept.status = ContainerStatus.RUNNING
        kept.exit_code = None
        kept.health = Health.STARTING if kept.image.health_check else Health.NONE
        kept.started_at = datetime.now(UTC)
        self._tell(kept, "start")
        kept.write([line.encode() for line in kept.image.prints])
        if kept.image.exit_code is not None:
            self._end(kept, kept.image.exit_code)

    async def stop(self, name: str, timeout_s: int) -> None:
        """End it. Nothing to do when it is gone or has ended."""
        await self._enter("stop", name)
        kept = self._kept.get(name)
        if kept is not None and kept.running:
            self._end(kept, kept.image.stop_exit_code)

    async def remove(self, name: str) -> None:
        """Take it away, running or not. Nothing to do when it is gone."""
        await self._enter("remove", name)
        self._drop_aside(name)
        self._take_away(name)

    async def set_aside(self, name: str) -> None:
        """Let an ended container make room. Nothing to do when there is none."""
        await self._enter("set_aside", name)
        if name in self._kept:
            self._drop_aside(name)
            self._aside[name] = self._kept.pop(name)

    async def put_back(self, name: str) -> bool:
        """Let it have its name again. ``False`` when none was set aside."""
        await self._enter("put_back", name)
        if name not in self._aside:
            return False
        self._take_away(name)
        self._kept[name] = self._aside.pop(name)
        return True

    async def drop_aside(self, name: str) -> None:
        """Take away what was set aside."""
        await self._enter("drop_aside", name)
        self._drop_aside(name)

    async def execute(self, name: str, command: Sequence[str]) -> ExecResult:
        """Answer as :attr:`answers` says."""
        await self._enter("execute", name)
        self._running(name)
        return self.answers.get(tuple(command), ExecResult(exit_code=0, output=b""))

    async def write_stdin(self, name: str, data: bytes) -> None:
        """Keep ``data`` in :attr:`inputs`."""
        await self._enter("write_stdin", name)
        kept = self._running(name)
        if not kept.spec.stdin:
            raise Conflict(f"{name} was created without a standard input that could be written to")
        self.inputs[name] = self.inputs.get(name, b"") + data
        if kept.image.echoes:
            kept.write(data.splitlines())

    async def logs(
        self, name: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[LogLine]:
        """What it wrote."""
        await self._enter("logs", name)
        kept = self._ours(name)
        start = 0 if tail is None else max(0, len(kept.lines) - tail)
        position = start
        while True:
            news = kept.news
            for line in kept.lines[position:]:
                if since is None or line.time >= since:
                    yield line
            position = len(kept.lines)
            if not follow or not kept.running:
                return
            await news.wait()
            if self._gone is not None:
                raise self._unavailable()

    async def log_text(
        self, name: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[bytes]:
        """The same as text."""
        async for line in self.logs(name, follow=follow, tail=tail, since=since):
            yield line.text + b"\n"

    def name_on_engine(self, name: str) -> str:
        """The same: there is no second instance on this engine."""
        return name

    async def stats(self, name: str) -> ContainerStats:
        """One reading, the same for all."""
        await self._enter("stats", name)
        self._running(name)
        return ContainerStats(
            cpu_percent=1.5,
            memory_usage=1024,
            memory_limit=4096,
            memory_percent=25.0,
            network_rx=10,
            network_tx=20,
            blk_read=30,
            blk_write=40,
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _enter(self, verb: Verb, about: str = "") -> None:
        self._answer(verb, about)
        await self._hindered(verb)

    def _answer(self, verb: Verb, about: str) -> None:
        self.calls.append((verb, about))
        if self._gone is not None:
            raise self._unavailable()

    async def _hindered(self, verb: Verb) -> None:
        """What the test has in store for this call."""
        if holds := self._holds.get(verb):
            await holds.popleft().wait()
            if self._gone is not None:
                raise self._unavailable()
        if failures := self._failures.get(verb):
            raise failures.popleft()

    def _unavailable(self) -> EngineUnavailable:
        return EngineUnavailable(f"The container engine does not answer: {self._gone}. Start it")

    def _source(self, path: DataPath | HostPath) -> Path | None:
        if isinstance(path, HostPath):
            return Path(path.path)
        return self.data_dir / path.path if self.data_dir else None

    def _missing_source(self, spec: ContainerSpec) -> Path | None:
        sources = [self._source(mount.source) for mount in spec.mounts]
        return next((source for source in sources if source is not None and not source.exists()), None)

    def _ours(self, name: str) -> _Kept:
        if name not in self._kept:
            raise ContainerNotFound(f"There is no container {name}")
        return self._kept[name]

    def _running(self, name: str) -> _Kept:
        kept = self._ours(name)
        if not kept.running:
            raise ContainerNotRunning(f"The container {name} does not run")
        return kept

    def _must_run(self, name: str) -> _Kept:
        kept = self._kept.get(name)
        if kept is None or not kept.running:
            raise AssertionError(f"the test wants something of {name}, which does not run")
        return kept

    def _refuse_taken_ports(self, wanting: _Kept) -> None:
        taken = {(port, protocol) for port in self.occupied_ports for protocol in ("tcp", "udp")}
        for kept in self._kept.values():
            if kept.running:
                taken |= {(port.host, port.protocol) for port in kept.spec.ports}
        for port in wanting.spec.ports:
            if (port.host, port.protocol) in taken:
                raise PortConflict(f"Port {port.host} of the host is in use", port=port.host)

    def _end(self, kept: _Kept, exit_code: int) -> None:
        kept.status = ContainerStatus.EXITED
        kept.exit_code = exit_code
        kept.health = Health.NONE
        kept.tell()
        self._tell(kept, "die")

    def _take_away(self, name: str) -> None:
        kept = self._kept.get(name)
        if kept is None:
            return
        if kept.running:
            self._end(kept, SIGKILL_EXIT)
        del self._kept[name]
        self._tell(kept, "destroy")

    def _drop_aside(self, name: str) -> None:
        kept = self._aside.pop(name, None)
        if kept is not None:
            self._tell(kept, "destroy")

    def _tell(self, kept: _Kept, action: Literal["start", "die", "destroy", "health"]) -> None:
        if self._gone is None:
            code = kept.exit_code if action == "die" else None
            health = kept.health if action == "health" else Health.NONE
            self.publish(ContainerChanged(kept.spec.name, kept.id, action, code, health))


class FakeEnginePlugin(Plugin):
    """Provides a :class:`FakeContainerEngine`; made for a test's own with :meth:`serving`."""

    name = "fake_engine"
    provides = (CONTAINER_ENGINE,)
    engine: FakeContainerEngine

    @classmethod
    def serving(cls, engine: FakeContainerEngine) -> type[Self]:
        """The plugin class that provides this engine."""
        return type(cls.__name__, (cls,), {"engine": engine})

    async def setup(self, kernel: Kernel) -> None:
        """Let the engine publish on this system's bus, and look for folders in its data folder."""
        self.engine.publish = kernel.publish
        self.engine.data_dir = kernel.data.path
        kernel.provide(CONTAINER_ENGINE, self.engine)

    def tasks(self) -> Iterable[Task]:
        """Say that the engine is there, as a driver does as soon as its event stream is open."""
        yield Task("watch the engine", self.watch)

    async def watch(self) -> None:
        """Say so, unless it has gone away."""
        if self.engine.available:
            self.engine.publish(EngineConnected())

    async def stop(self) -> None:
        """Nobody listens any more; the containers run on."""
        self.engine.publish = lambda _: None


__all__ = ["BROKEN_INSTRUCTION", "FakeContainerEngine", "FakeEnginePlugin", "FakeImage", "Hold", "Verb"]
