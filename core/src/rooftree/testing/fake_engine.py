"""The container engine in memory that :mod:`rooftree.testing.containers` tells of."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from attrs import evolve

from rooftree.errors import Conflict
from rooftree.events import Event
from rooftree.interfaces.containers import (
    AddonNetwork,
    BuildFailed,
    Container,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerSpec,
    ContainerStats,
    DataPath,
    EngineConnected,
    EngineInfo,
    EngineLost,
    EngineRefused,
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
from rooftree.testing.fake_containers import (
    ARCHITECTURE,
    FACTS,
    READING,
    SIGKILL_EXIT,
    Change,
    FakeImage,
    KeptContainer,
    new_image_id,
    shown_image,
)
from rooftree.testing.scripted_calls import Hold, ScriptedCalls, Verb

BROKEN_INSTRUCTION = "RUN false"
"""A Dockerfile with this line cannot be built, here as in reality."""


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
        self._script = ScriptedCalls()
        self.calls = self._script.made
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
        self._kept: dict[str, KeptContainer] = {}
        self._aside: dict[str, KeptContainer] = {}
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
        self._script.fail(verb, error, times)

    def hold(self, verb: Verb) -> Hold:
        """Let the next call of ``verb`` wait until it is released."""
        return self._script.hold(verb)

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
        self._script.gone = reason
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
        self._script.gone = None
        self.publish(EngineConnected())

    # --- the engine itself ------------------------------------------------------------------------------------------

    @property
    def available(self) -> bool:
        """Whether the engine answers."""
        return self._script.gone is None

    async def info(self) -> EngineInfo:
        """Facts about the engine."""
        await self._script.enter("info")
        return evolve(FACTS, logging=self.log_driver)

    async def network(self) -> AddonNetwork:
        """The add-on network."""
        await self._script.enter("network")
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
        self._script.answer("pull", image)
        image, _, digest = image.partition("@")
        published = self._published.get(digest) if digest else self.registry.get(image)
        if published is None:
            raise ImageNotFound(f"The registry has no image {image}.", image=image)
        if published.architecture != ARCHITECTURE:
            raise ImageForOtherPlatform(f"The image {image} is made for {published.architecture}", image=image)
        for quarter in range(4):
            yield Progress(done=quarter * published.size // 4, total=published.size)
            if quarter == 2:
                await self._script.hinder("pull")
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
        await self._script.enter("build", image)
        folder = self._source(context)
        instructions = await asyncio.to_thread(_instructions, folder / dockerfile) if folder else []
        for number, instruction in enumerate(instructions):
            yield Progress(done=number, total=len(instructions), line=instruction)
            if instruction == BROKEN_INSTRUCTION:
                raise BuildFailed(f"Building {image} failed in {instruction}: it returned a non-zero code: 1")
        self.built[image] = dict(arguments)
        self.images[image] = evolve(self.builds_what, labels=dict(labels), id=new_image_id())
        yield Progress(done=len(instructions), total=len(instructions))

    async def image(self, image: str) -> Image | None:
        """What the engine has under ``name:tag``, or ``None``."""
        await self._script.enter("image", image)
        known = self.images.get(image)
        if known is None:
            return None
        return shown_image(
            known,
            tags=tuple(name for name, other in self.images.items() if other.id == known.id),
            digests=tuple(
                f"{name.rpartition(':')[0]}@{known.id}"
                for name, published in self.registry.items()
                if published.id == known.id
            ),
        )

    async def tag_image(self, image: str, further: str) -> None:
        """Give an image another name too."""
        await self._script.enter("tag_image", image)
        if image not in self.images:
            raise ImageNotFound(f"The container engine has no image {image}", image=image)
        self.images[further] = self.images[image]

    async def remove_image(self, image: str) -> bool:
        """Take ``name:tag`` away. ``False`` when it was not there or a container still uses it."""
        await self._script.enter("remove_image", image)
        used = {kept.spec.image for kept in (*self._kept.values(), *self._aside.values())}
        if image not in self.images or image in used:
            return False
        del self.images[image]
        return True

    async def export_image(self, image: str, file: Path) -> None:
        """Write a file that stands for the image."""
        await self._script.enter("export_image", image)
        if image not in self.images:
            raise ImageNotFound(f"The container engine has no image {image}", image=image)
        content = f"{image} {self.images[image].id}".encode()
        self._exported[content] = self.images[image]
        await asyncio.to_thread(file.write_bytes, content)

    async def import_image(self, image: str, file: Path) -> None:
        """Take over what the file stands for; one that no fake engine wrote is an image like any other."""
        await self._script.enter("import_image", image)
        content = await asyncio.to_thread(file.read_bytes)
        exported = self._exported.get(content)
        if not content or (exported is not None and content.partition(b" ")[0] != image.encode()):
            raise ImageImportRefused(f"The file is no export of the image {image}", image=image)
        self.images[image] = exported or FakeImage()

    # --- containers -------------------------------------------------------------------------------------------------

    async def containers(self) -> Sequence[Container]:
        """Every container of this instance."""
        await self._script.enter("containers")
        return [kept.shown() for kept in self._kept.values()]

    async def container(self, name: str) -> Container | None:
        """The container of that logical name, or ``None``."""
        await self._script.enter("container", name)
        return self._kept[name].shown() if name in self._kept else None

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container; its id. One of that name of ours is replaced."""
        await self._script.enter("create", spec.name)
        if spec.name in self._strangers:
            raise Conflict(f"The engine has a container {spec.name} that this installation did not make")
        if missing := await asyncio.to_thread(self._missing_source, spec):
            raise EngineRefused(f"invalid mount config: bind source path does not exist: {missing}")
        self._take_away(spec.name)
        image = self.images.get(spec.image)
        if image is None:
            raise ImageNotFound(f"The container engine has no image {spec.image} for {spec.name}", image=spec.image)
        self._addresses += 1
        address = self.address or f"172.30.33.{self._addresses % 254 + 1}"
        self._kept[spec.name] = KeptContainer(
            id=secrets.token_hex(32), spec=spec, image=image, address=address, log_driver=self.log_driver
        )
        return self._kept[spec.name].id

    async def start(self, name: str) -> None:
        """Start it; nothing to do when it runs."""
        await self._script.enter("start", name)
        kept = self._ours(name)
        if kept.running:
            return
        self._refuse_taken_ports(kept)
        kept.begin()
        self._tell(kept, "start")
        kept.write([line.encode() for line in kept.image.prints])
        if kept.image.exit_code is not None:
            self._end(kept, kept.image.exit_code)

    async def stop(self, name: str, timeout_s: int) -> None:
        """End it. Nothing to do when it is gone or has ended."""
        await self._script.enter("stop", name)
        kept = self._kept.get(name)
        if kept is not None and kept.running:
            self._end(kept, kept.image.stop_exit_code)

    async def remove(self, name: str) -> None:
        """Take it away, running or not. Nothing to do when it is gone."""
        await self._script.enter("remove", name)
        self._drop_aside(name)
        self._take_away(name)

    async def set_aside(self, name: str) -> None:
        """Let an ended container make room. Nothing to do when there is none."""
        await self._script.enter("set_aside", name)
        if name in self._kept:
            self._drop_aside(name)
            self._aside[name] = self._kept.pop(name)

    async def put_back(self, name: str) -> bool:
        """Let it have its name again. ``False`` when none was set aside."""
        await self._script.enter("put_back", name)
        if name not in self._aside:
            return False
        self._take_away(name)
        self._kept[name] = self._aside.pop(name)
        return True

    async def drop_aside(self, name: str) -> None:
        """Take away what was set aside."""
        await self._script.enter("drop_aside", name)
        self._drop_aside(name)

    async def execute(self, name: str, command: Sequence[str]) -> ExecResult:
        """Answer as :attr:`answers` says."""
        await self._script.enter("execute", name)
        self._running(name)
        return self.answers.get(tuple(command), ExecResult(exit_code=0, output=b""))

    async def write_stdin(self, name: str, data: bytes) -> None:
        """Keep ``data`` in :attr:`inputs`."""
        await self._script.enter("write_stdin", name)
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
        await self._script.enter("logs", name)
        kept = self._ours(name)
        position = 0 if tail is None else max(0, len(kept.lines) - tail)
        while True:
            news = kept.news
            for line in kept.lines[position:]:
                if since is None or line.time >= since:
                    yield line
            position = len(kept.lines)
            if not follow or not kept.running:
                return
            await news.wait()
            self._script.refuse_if_gone()

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
        await self._script.enter("stats", name)
        self._running(name)
        return READING

    # --- inside -----------------------------------------------------------------------------------------------------

    def _source(self, path: DataPath | HostPath) -> Path | None:
        if isinstance(path, HostPath):
            return Path(path.path)
        return self.data_dir / path.path if self.data_dir else None

    def _missing_source(self, spec: ContainerSpec) -> Path | None:
        sources = [self._source(mount.source) for mount in spec.mounts]
        return next((source for source in sources if source is not None and not source.exists()), None)

    def _ours(self, name: str) -> KeptContainer:
        if name not in self._kept:
            raise ContainerNotFound(f"There is no container {name}")
        return self._kept[name]

    def _running(self, name: str) -> KeptContainer:
        kept = self._ours(name)
        if not kept.running:
            raise ContainerNotRunning(f"The container {name} does not run")
        return kept

    def _must_run(self, name: str) -> KeptContainer:
        kept = self._kept.get(name)
        if kept is None or not kept.running:
            raise AssertionError(f"the test wants something of {name}, which does not run")
        return kept

    def _refuse_taken_ports(self, wanting: KeptContainer) -> None:
        taken = {(port, protocol) for port in self.occupied_ports for protocol in ("tcp", "udp")}
        taken.update(*(kept.ports for kept in self._kept.values() if kept.running))
        for port, _ in sorted(wanting.ports & taken):
            raise PortConflict(f"Port {port} of the host is in use", port=port)

    def _end(self, kept: KeptContainer, exit_code: int) -> None:
        kept.end(exit_code)
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

    def _tell(self, kept: KeptContainer, action: Change) -> None:
        if self._script.gone is None:
            self.publish(kept.change(action))


def _instructions(dockerfile: Path) -> list[str]:
    try:
        text = dockerfile.read_text()
    except FileNotFoundError:
        raise BuildFailed(f"There is no {dockerfile.name} in {dockerfile.parent.name}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
