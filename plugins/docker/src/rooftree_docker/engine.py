"""The container engine, on Docker.

:class:`DockerEngine` is made and kept without an engine being there: each call says then that it cannot be reached and
what to do. It lists and touches only what carries this instance's label. What the engine's words mean in ours stands
in the modules beside this one; here is what is asked of the engine, in which order, and what a refusal means.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog
from aiodocker.exceptions import DockerError

from rooftree.errors import Conflict, Unavailable
from rooftree.events import Event
from rooftree.interfaces.containers import (
    AddonNetwork,
    Container,
    ContainerNotFound,
    ContainerSpec,
    ContainerStats,
    DataPath,
    EngineInfo,
    ExecResult,
    HostPath,
    Image,
    ImageNotFound,
    LogLine,
    Progress,
    RegistryRateLimited,
)
from rooftree_docker.api_socket import ApiSocket, open_api_socket, refuse_taken_address
from rooftree_docker.assessment import Remark, assess
from rooftree_docker.container_exec import ContainerExec, not_running
from rooftree_docker.container_removal import delete_container
from rooftree_docker.control_group import processor_time
from rooftree_docker.data_folder import DataFolder, own_container
from rooftree_docker.engine_client import Deadlines, EngineClient, Json
from rooftree_docker.events import EventWatch
from rooftree_docker.image_reference import AuthInfo, ImageReference
from rooftree_docker.images import Images, PullReport
from rooftree_docker.inspection import container_of, engine_info_of
from rooftree_docker.logs import Logs
from rooftree_docker.network import NetworkSettings, RangeMoved, SharedNetwork, addon_network
from rooftree_docker.signatures import SignaturePolicy, SignedImages
from rooftree_docker.specification import Naming, container_body
from rooftree_docker.start_refusal import start_refusal
from rooftree_docker.stats import ProcessorMeter
from rooftree_docker.wire import NetworkWire

log = structlog.get_logger(__name__)


def _no_login(_registry: str) -> AuthInfo | None:
    return None


def _unheard_pull(_registry: str, _refused: RegistryRateLimited | None) -> None:
    """The error reaches who wanted the image."""


def _unheard_wait(_waits: bool) -> None:
    """It is as set at the next look."""


def _unheard_wire(_reason: str | None) -> None:
    """The wire logs it itself."""


def _unreported(_moved: RangeMoved | None) -> None:
    """The network logs the move itself."""


class DockerEngine:
    """:class:`~rooftree.interfaces.containers.ContainerEngine` on the Docker Engine, API 1.41 and newer.

    :param url: as in ``DOCKER_HOST``: ``unix:///var/run/docker.sock``, ``tcp://…``
    :param data_dir: the data folder, as this process sees it
    :param instance_id: marks what is ours on the engine
    :param prefix: put before every container and network name, for a second instance on one engine
    :param publish: takes the events of :meth:`watch`
    :param login_for: the stored login for a registry's host name, asked at each pull and build
    :param report_pull: told of each pull, and whether its registry refused because it was asked too often
    :param report_network_waits: told whether the network's IPv6 or packet size wait for containers to leave it
    :param signed_images: which images are fetched only when they are signed
    :param report_wire: told why addresses on the network can be taken over, or ``None`` when they can't
    :param report_range: told when the network had to move to another range, and ``None`` when it has the wanted one
    """

    def __init__(
        self,
        url: str,
        *,
        data_dir: Path,
        instance_id: str,
        publish: Callable[[Event], None],
        prefix: str = "",
        network: NetworkSettings | None = None,
        login_for: Callable[[str], AuthInfo | None] = _no_login,
        report_pull: PullReport = _unheard_pull,
        report_range: Callable[[RangeMoved | None], None] = _unreported,
        report_network_waits: Callable[[bool], None] = _unheard_wait,
        report_wire: Callable[[str | None], None] = _unheard_wire,
        deadlines: Deadlines | None = None,
        signed_images: Sequence[SignedImages] = (),
    ) -> None:
        self._deadlines = deadlines or Deadlines()
        self._naming = Naming(instance_id, prefix)
        self._client = EngineClient(url, self._deadlines)
        self._network = SharedNetwork(
            self._client,
            self._naming,
            network or NetworkSettings(),
            report_range,
            report_network_waits,
            wire=lambda describe: NetworkWire(describe, self._inspect, self._version, report_wire),
        )
        self.wire = self._network.wire
        """Keeps containers from taking each other's addresses, or ours."""
        self._folder = DataFolder(data_dir, self._inspect)
        self._events = EventWatch(self._client, self._naming, publish)
        policy = SignaturePolicy(tuple(signed_images))
        self._images = Images(self._client, self._deadlines, self._naming, self._folder, login_for, report_pull, policy)
        self._container_exec = ContainerExec(self._client, self._deadlines)
        self._processor_meter = ProcessorMeter()
        self._logs = Logs(self._client, self._ours, self._inspect)
        self._api_address: str | None = None
        self.known_network: AddonNetwork | None = None
        """The add-on network as it was when it was last looked at."""

    @property
    def available(self) -> bool:
        """Whether the engine answered last time; a ``False`` here never replaces trying."""
        return self._client.available

    async def watch(self) -> None:
        """Publish what happens to the engine and to our containers, until cancelled. Survives the engine's absence."""
        await self._events.run()

    async def close(self) -> None:
        """End every open exchange with the engine. Containers go on."""
        await self._client.close()

    # The engine itself

    async def info(self) -> EngineInfo:
        """Facts about the engine."""
        info, _ = await self.introduction()
        return info

    async def introduction(self) -> tuple[EngineInfo, Sequence[Remark]]:
        """Facts about the engine, and what of it limits what can be done."""
        async with self._client.call("describe itself") as docker:
            facts, version = dict(await docker.system.info()), await self._version()
            return engine_info_of(facts, version), assess(facts, version)

    async def _version(self) -> Json:
        return await self._client.version("tell its version")

    def set_network(self, *, ipv6: bool, mtu: int | None) -> None:
        """Want the add-on network otherwise, from the next look at it on."""
        self._network.set(ipv6=ipv6, mtu=mtu)

    async def network(self) -> AddonNetwork:
        """The add-on network, made when it is not there. Raises ``Conflict`` for a stranger's of that name."""
        self.known_network = addon_network(await self._network.ensure(), self._api_address)
        return self.known_network

    async def host_path(self, path: DataPath) -> HostPath:
        """Where something below the data folder lies on the engine's host."""
        return HostPath((await self._folder.bind_source(path)).path)

    async def open_api_socket(self) -> ApiSocket:
        """Listen where add-ons expect the API; again after the engine made its bridge anew.

        From now on :meth:`network` names the address that was got. Raises ``Unavailable`` when no way is left, and
        ``Conflict`` when another container has the address.
        """
        described = await self._network.ensure()
        planned = addon_network(described)
        own_address = await self._own_address(planned)
        if own_address is None:
            refuse_taken_address(described, planned.supervisor)
        made = await open_api_socket(planned, own_address=own_address)
        self._api_address = made.address
        self.known_network = addon_network(described, self._api_address)
        return made

    async def _own_address(self, network: AddonNetwork) -> str | None:
        """Our container's address on the network, when we run in one that is not on the host's."""
        own = await self._folder.own_container()
        if own is None or own.host_network:
            return None
        described = await self._inspect(own.id)  # looked up again: it may have been connected since
        address = own_container(described).addresses.get(network.name) if described else None
        if address is None:
            raise Unavailable(
                f"Add-ons cannot reach Rooftree, whose container {own.id[:12]} is not on their network. Connect it: "
                f"'docker network connect --ip {network.supervisor} {network.name} {own.id[:12]}'."
            )
        return address

    # Images

    def pull(self, image: str, *, platform: str | None = None) -> AsyncGenerator[Progress]:
        """Fetch ``name:tag`` from its registry; what the engine has already will do while that cannot be reached."""
        return self._images.pull(image, platform=platform)

    async def size_of_pull(self, image: str, *, platform: str | None = None) -> int | None:
        """Bytes that a pull fetches at most, as the registry tells; ``None`` if it doesn't, or the engine is away."""
        return await self._images.size_of_pull(image, platform=platform)

    def build(
        self,
        image: str,
        context: DataPath | HostPath,
        *,
        dockerfile: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        platform: str | None = None,
    ) -> AsyncGenerator[Progress]:
        """Build ``name:tag`` from a folder, with the engine's own builder. Raises :class:`BuildFailed`."""
        return self._images.build(
            image, context, dockerfile=dockerfile, arguments=arguments, labels=labels, platform=platform
        )

    async def image(self, image: str) -> Image | None:
        """What the engine has under ``name:tag``, or ``None``."""
        return await self._images.find(image)

    async def tag_image(self, image: str, further: str) -> None:
        """Give an image another name too."""
        await self._images.tag(image, further)

    async def remove_image(self, image: str) -> bool:
        """Take ``name:tag`` away. ``False`` when it was not there, a container still uses it, or another Rooftree
        on this engine built it."""
        return await self._images.remove(image)

    async def export_image(self, image: str, file: Path) -> None:
        """Write an image into a file. Raises :class:`ImageNotFound`."""
        await self._images.export(image, file)

    async def import_image(self, image: str, file: Path) -> None:
        """Take an image over from such a file; one with another name in it is refused."""
        await self._images.import_from(image, file)

    async def remove_nameless_images(self) -> int:
        """Take away what we built and nothing refers to any more; the bytes that came free."""
        return await self._images.remove_nameless()

    # Containers

    async def containers(self) -> Sequence[Container]:
        async with self._client.call("list containers") as docker:
            listed = await docker.containers.list(all=1, filters=_json(self._naming.filter))
        try:
            async with asyncio.TaskGroup() as group:
                looks = [group.create_task(self._inspect(container.id)) for container in listed]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors  # they all say the same: the engine went away
        containers = [self._container(look.result()) for look in looks]
        return [container for container in containers if container is not None]

    async def container(self, name: str) -> Container | None:
        """The container of that logical name, or ``None``."""
        return self._container(await self._find(name))

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container and attach it to its network; its engine id. One of that name of ours is replaced.

        Raises :class:`ImageNotFound`, ``EngineRefused`` (a mount's source that is not there, for one), and ``Conflict``
        for a stranger's container of the name.
        """
        engine_name = self._naming.engine_name(spec.name)
        ImageReference.parse(spec.image)
        sources = [await self._folder.bind_source(mount.source) for mount in spec.mounts]
        if spec.network == "addons":
            await self._network.ensure()
        existing = await self._inspect(engine_name)
        if existing is not None and _is_named(existing, engine_name):
            if not self._is_ours(existing):
                raise _name_taken(engine_name)
            await self._delete(existing["Id"], engine_name)
        renamed = await self._find_renamed(spec.name)
        if renamed is not None:
            await self._delete(renamed["Id"], spec.name)
        body = container_body(
            spec,
            sources,
            labels=self._naming.container_labels(spec.name, spec.labels),
            network=self._network.name,
            api_version=self._client.api_version,
        )
        doing = f"create the container {engine_name}"
        async with self._client.call(doing, deadline=self._deadlines.change) as docker:
            try:
                return (await docker.containers.create(body, name=engine_name)).id
            except DockerError as error:
                if error.status == 404 and "no such image" in error.message.lower():
                    raise ImageNotFound(
                        f"The container engine has no image {spec.image} for {engine_name}",
                        image=spec.image,
                    ) from error
                if error.status == 409:
                    raise _name_taken(engine_name) from error
                raise

    async def start(self, name: str) -> None:
        """Start it; nothing to do when it runs. Raises :class:`ContainerNotFound`, :class:`PortConflict`."""
        details = await self._ours(name)
        if details["State"]["Running"]:
            return
        doing = f"start the container {details['Name'].removeprefix('/')}"
        explain = start_refusal(name, doing, details)
        async with self._client.call(doing, deadline=self._deadlines.change, explain=explain) as docker:
            await docker.containers.container(details["Id"]).start()

    async def stop(self, name: str, timeout_s: int) -> None:
        """Ask it to end, end it after ``timeout_s``. Nothing to do when it is gone or has ended."""
        details = await self._find(name)
        if details is None or not details["State"]["Running"]:
            return
        doing, deadline = f"stop the container {name}", timeout_s + self._deadlines.change
        async with self._client.call(doing, deadline=deadline) as docker:
            try:
                await docker.containers.container(details["Id"]).stop(t=timeout_s)
            except DockerError as error:
                if error.status != 404:
                    raise

    async def remove(self, name: str) -> None:
        """Take it away with its anonymous volumes, running or not. Nothing to do when it is gone."""
        await self.drop_aside(name)
        details = await self._find(name)
        if details is not None:
            await self._delete(details["Id"], name)

    async def set_aside(self, name: str) -> None:
        """Let an ended container make room for another of its logical name. Nothing to do when there is none."""
        details = await self._find(name)
        if details is not None:
            await self.drop_aside(name)
            await self._rename(details["Id"], self._naming.aside_name(name))

    async def put_back(self, name: str) -> bool:
        """Let the container that was set aside have its name again, in place of what has it now. ``False`` when none
        was."""
        aside = await self._find_aside(name)
        if aside is None:
            return False
        details = await self._find(name)
        if details is not None:
            await self._delete(details["Id"], name)
        await self._rename(aside["Id"], self._naming.engine_name(name))
        return True

    async def drop_aside(self, name: str) -> None:
        """Take the container away that was set aside. Nothing to do when none was."""
        aside = await self._find_aside(name)
        if aside is not None:
            await self._delete(aside["Id"], name)

    async def execute(self, name: str, command: Sequence[str]) -> ExecResult:
        """Run a command inside and wait for its end; raises :class:`ContainerNotRunning`.

        The output is what it wrote to both streams, in order. Raises ``Failed`` when that is more than 16 MiB.
        """
        return await self._container_exec.execute(name, await self._running(name), command)

    async def write_stdin(self, name: str, data: bytes) -> None:
        """Feed a running container's standard input; raises :class:`ContainerNotRunning`.

        Returns when the engine has taken everything, which it does as the program inside reads.
        """
        await self._container_exec.write_stdin(name, await self._running(name), data)

    def logs(
        self, name: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncGenerator[LogLine]:
        """What it wrote; ``tail`` lines at most, then on as it comes with ``follow``.

        A line of more than 256 KiB comes in pieces. Raises :class:`ContainerNotFound`.
        """
        return self._logs.lines(name, follow=follow, tail=tail, since=since)

    def log_text(
        self, name: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncGenerator[bytes]:
        """The same as text: whole lines, in pieces of any number of them."""
        return self._logs.text(name, follow=follow, tail=tail, since=since)

    def name_on_engine(self, name: str) -> str:
        """What the engine calls the container of that logical name, whether it is there or not."""
        return self._naming.engine_name(name)

    async def stats(self, name: str) -> ContainerStats:
        """One reading; raises :class:`ContainerNotRunning`."""
        details = await self._running(name)

        async def fetch() -> Json:
            async with (
                self._client.stream(
                    f"measure the container {name}",
                    "GET",
                    f"containers/{details['Id']}/stats",
                    params={"stream": "0", "one-shot": "1"},
                ) as response,
                asyncio.timeout(self._deadlines.answer),
            ):
                body = await response.read()
            if not body:
                raise not_running(name)  # it ended while it was measured
            reading: Json = json.loads(body)
            return reading

        look = partial(processor_time, details["Id"], details["State"].get("Pid") or 0)
        return await self._processor_meter.read(details["Id"], fetch, look)

    async def _inspect(self, reference: str) -> Json | None:
        """The engine's description of anybody's container, by engine name or id."""
        async with self._client.call(f"describe the container {reference}") as docker:
            try:
                described: Json = await docker.containers.container(reference).show()
            except DockerError as error:
                if error.status == 404:
                    return None
                raise
        return described

    async def _find(self, name: str) -> Json | None:
        """The engine's description of our container of that logical name."""
        engine_name = self._naming.engine_name(name)
        details = await self._inspect(engine_name)
        if details is not None and _is_named(details, engine_name) and self._is_ours(details):
            return details
        return await self._find_renamed(name)

    async def _find_renamed(self, name: str) -> Json | None:
        """The same for one that somebody has renamed."""
        filters = self._naming.filter_for(name)
        async with self._client.call(f"look for the container {name}") as docker:
            listed = await docker.containers.list(all=1, filters=_json(filters))
        for container in listed:
            described = await self._inspect(container.id)
            if described is not None and not self._is_aside(described):
                return described
        return None

    async def _find_aside(self, name: str) -> Json | None:
        """The same for the one that was set aside."""
        described = await self._inspect(self._naming.aside_name(name))
        is_it = described is not None and self._is_ours(described) and self._is_aside(described)
        return described if is_it else None

    def _is_aside(self, described: Json) -> bool:
        return self._naming.is_aside(described["Name"], described["Config"].get("Labels"))

    def _is_ours(self, described: Json) -> bool:
        return self._naming.is_ours(described["Config"].get("Labels"))

    async def _ours(self, name: str) -> Json:
        details = await self._find(name)
        if details is None:
            raise ContainerNotFound(f"There is no container {name}. Start what it belongs to.")
        return details

    async def _running(self, name: str) -> Json:
        details = await self._ours(name)
        if not details["State"]["Running"]:
            raise not_running(name)
        return details

    def _container(self, described: Json | None) -> Container | None:
        if described is None or not self._is_ours(described) or self._is_aside(described):
            return None
        name = self._naming.name_of(described["Name"], described["Config"].get("Labels"))
        return None if name is None else container_of(described, name, self._network.name)

    async def _rename(self, container_id: str, engine_name: str) -> None:
        doing = f"rename a container to {engine_name}"
        async with self._client.call(doing, deadline=self._deadlines.change) as docker:
            await docker.containers.container(container_id).rename(engine_name)  # ours: a container

    async def _delete(self, container_id: str, name: str) -> None:
        await delete_container(self._client, container_id, name, self._deadlines.change)


def _json(value: object) -> str:
    return json.dumps(value)


def _is_named(described: Json, engine_name: str) -> bool:
    # The engine also finds containers by the beginning of their id, and a name can look like one.
    return bool(described["Name"] == f"/{engine_name}")


def _name_taken(engine_name: str) -> Conflict:
    return Conflict(
        f"The container engine has a container {engine_name} that this installation did not make. Remove it "
        f"('docker rm {engine_name}') or rename it."
    )
