"""A domain of containers that are known when it is written, such as a base service or Home Assistant Core: all that
it has to say of each is a description, and what is kept of it is one document.

A domain declares that document as its own, so that it goes when its plugin is purged::

    @document("dns.container", version=1)
    @frozen(kw_only=True)
    class DnsContainer(StandingContainer):
        ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from attrs import evolve, frozen

from rooftree import Collection as Documents
from rooftree import Event, Kernel, NotFound, Step
from rooftree.interfaces.containers import CONTAINER_ENGINE, Container
from rooftree.state import Change
from rooftree_containers import snapshot
from rooftree_containers.container_jobs import domain_steps
from rooftree_containers.managed import (
    ContainerDomain,
    ContainerJobs,
    ContainerState,
    Desired,
    DomainNames,
    ImageVersion,
    ManagedContainer,
    Probation,
    RolledBack,
)
from rooftree_containers.managed_containers import ManagedContainers, managed_containers
from rooftree_containers.steps import PullImage
from rooftree_files import RemovalIncomplete

log = structlog.get_logger(__name__)

FAILED_DATA_STAYS: Final = timedelta(days=7)


@frozen(kw_only=True)
class StandingContainer:
    """What is kept of a container."""

    version: str
    image: str
    """Name and tag."""
    desired: Desired = Desired.STARTED
    failed_version: str | None = None
    """The version that was rolled back last, until another has proved itself."""
    probation: Probation | None = None
    boot_id: str | None = None
    """The boot of the host that it was last brought up in."""


@frozen
class ManagedStateChanged(Event):
    """A container of a domain started, ended or failed."""

    plugin: str
    name: str
    state: ContainerState


@frozen
class UpdateTakenBack(Event):
    """An update of a container of a domain failed, and the version before it is back with its data."""

    plugin: str
    what: RolledBack


def pulled_if_missing(kernel: Kernel, image: str, digest: str | None = None) -> Callable[[], Awaitable[Sequence[Step]]]:
    """What :attr:`~rooftree_containers.ManagedContainer.missing_image` is for an image of a registry.

    :param digest: which image of that name, where that is known
    """

    async def steps() -> Sequence[Step]:
        image_on_engine = await kernel.service(CONTAINER_ENGINE).image(image)
        return [] if image_on_engine is not None else [PullImage(image, digest)]

    return steps


class StandingDomain[S: StandingContainer]:
    """A :class:`~rooftree_containers.managed.ContainerDomain` of containers that are known when it is written.

    Those that have a document are there; the domain's own job puts it when it has installed one.

    :param titles: what people call each, by its name
    :param containers: the logical name of each one's container
    :param describe: what one is, from its name and document
    """

    def __init__(
        self,
        kernel: Kernel,
        names: DomainNames,
        documents: Documents[S],
        *,
        titles: Mapping[str, str],
        containers: Mapping[str, str],
        describe: Callable[[str, S], ManagedContainer],
        failed_data_stays: timedelta = FAILED_DATA_STAYS,
    ) -> None:
        self.kernel = kernel
        self.names = names
        self.documents = documents
        self._titles = titles
        self._containers = containers
        self._describe = describe
        self.failed_data_stays = failed_data_stays

    # --- which there are ---------------------------------------------------------------------------------------------

    def known(self) -> Collection[str]:
        """The names of those that are installed."""
        return self.documents.keys()

    def find(self, name: str) -> ManagedContainer | None:
        """One of them, or ``None``."""
        document = self.documents.get(name)
        return self._describe(name, document) if document is not None else None

    def get(self, name: str) -> ManagedContainer:
        """The same; raises :class:`~rooftree.NotFound`."""
        container = self.find(name)
        if container is None:
            raise NotFound(f"There is no {self.title(name)} here")
        return container

    def as_version(self, name: str, version: ImageVersion) -> ManagedContainer:
        """It, as it would be in another version."""
        return self._describe(name, evolve(self.documents[name], version=version.version, image=version.image))

    def title(self, name: str) -> str:
        """What people call it."""
        return self._titles[name]

    def container_name(self, name: str) -> str:
        """The logical name of its container."""
        return self._containers[name]

    def name_of(self, container: str) -> str | None:
        """Whose container it is."""
        return next((name for name in self.documents if self._containers[name] == container), None)

    def is_needed_by_others(self, image: str, name: str) -> bool:
        """Whether another of them runs as the image."""
        return any(document.image == image for other, document in self.documents.items() if other != name)

    # --- what is kept of them ----------------------------------------------------------------------------------------

    def desiring(self, name: str, desired: Desired) -> Change:
        """Want that of it."""
        return self._change(name, desired=desired)

    @property
    def last_boot(self) -> str | None:
        """The boot of the host that they were last brought up in."""
        return next((document.boot_id for document in self.documents.values()), None)

    def noting_boot(self, boot_id: str) -> Sequence[Change]:
        """Note that they are brought up in that one."""
        return [self._change(name, boot_id=boot_id) for name in self.documents]

    def probation(self, name: str) -> Probation | None:
        """What its version has to prove."""
        document = self.documents.get(name)
        return document.probation if document is not None else None

    def putting_probation(self, name: str, probation: Probation | None) -> Sequence[Change]:
        """Let that be what its version has to prove."""
        return [self._change(name, probation=probation)]

    def noting_failed(self, name: str, version: str | None) -> Sequence[Change]:
        """Note the version that was rolled back last."""
        return [self._change(name, failed_version=version)]

    def putting_version(self, name: str, version: ImageVersion) -> Sequence[Change]:
        """Let it be another version."""
        return [self._change(name, version=version.version, image=version.image)]

    def _change(self, name: str, **changes: object) -> Change:
        return self.documents.update(name, partial(evolve, **changes))  # type: ignore[arg-type]  # attrs checks them

    async def remove(self, *folders: str) -> None:
        """Delete folders. What can't be deleted is logged and stays; of it, what failed versions left is tried again
        each day."""
        for folder in folders:
            try:
                await asyncio.to_thread(snapshot.drop, self.kernel.data.path, folder)
            except (RemovalIncomplete, OSError) as error:
                log.warning("folder_not_removed", folder=folder, reason=str(error))

    # --- what it is told ---------------------------------------------------------------------------------------------

    def state_changed(self, name: str, state: ContainerState) -> None:
        """Tell everybody."""
        self.kernel.publish(ManagedStateChanged(self.names.plugin, name, state))

    async def container_removed(self, name: str) -> None:
        """Nothing is left of it."""

    def version_changed(self, name: str) -> None:
        """Nobody keeps anything of it."""

    def rolled_back(self, rollback: RolledBack) -> None:
        """Tell everybody."""
        self.kernel.publish(UpdateTakenBack(self.names.plugin, rollback))

    # --- containers of ours that are not known -----------------------------------------------------------------------

    def claims(self, container: Container) -> str | None:
        """Whose container it is, installed or not."""
        return next((name for name, logical in self._containers.items() if logical == container.name), None)

    def is_behind(self, name: str, container: Container) -> bool:
        """Its labels tell no version that would be newer."""
        return False

    async def take_over(self, name: str, container: Container) -> str | None:
        """What it was set up with is lost: it has to be installed again."""
        return "and what was known of it is lost"


def look_after(kernel: Kernel, domain: ContainerDomain, jobs: ContainerJobs) -> ManagedContainers:
    """Look after a domain's containers from now on, with the library's steps; its plugin declares
    :func:`~rooftree_containers.managed_containers` in ``provides``, and yields ``tasks()`` of what this answers."""
    plugin = domain.names.plugin
    containers = ManagedContainers(kernel, domain, jobs, domain_steps(plugin))
    kernel.provide(managed_containers(plugin), containers)
    return containers
