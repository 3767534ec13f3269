"""A domain of two managed containers, and all that it has to say: the model for a base service's plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType

from attrs import frozen

from rooftree import Kernel, Plugin, Principal, Role, Task, document
from rooftree.interfaces.callers import TOKEN_HEADERS
from rooftree.interfaces.containers import CONTAINER_ENGINE, ContainerSpec, DataPath, Mount
from rooftree.principal import CallerKind
from rooftree_containers import DomainNames, ManagedContainer, Stage, managed_containers
from rooftree_containers.container_jobs import domain_jobs
from rooftree_containers.standing import StandingContainer, StandingDomain, look_after, pulled_if_missing

NAMES = DomainNames(plugin="lamp", owner="service", context="lamp", tokens="lamp", kept_folder="lamp/kept")
JOBS = domain_jobs(NAMES, "lamp", __name__)
LAMP = CallerKind("lamp")
LAMP_CONTAINERS = managed_containers("lamp")
DATA = DataPath("lamp/data")


@document("lamp.container", version=1)
@frozen(kw_only=True)
class LampState(StandingContainer):
    """What is kept of each."""


class LampPlugin(Plugin):
    """A lamp, and the socket that it needs."""

    name = "lamp"
    provides = (LAMP_CONTAINERS,)
    requires = (CONTAINER_ENGINE,)
    reused = False
    """Whether its containers are used again."""
    words: Mapping[str, str] = MappingProxyType({})
    """What else stands in their environment."""

    async def setup(self, kernel: Kernel) -> None:
        """Look after both."""
        self.kernel = kernel
        self.complaint: str | None = None
        documents = await kernel.collection(LampState)
        titles = {"lamp": "the lamp", "socket": "the socket"}
        containers = {"lamp": "hassio_lamp", "socket": "hassio_socket"}
        domain = StandingDomain(kernel, NAMES, documents, titles=titles, containers=containers, describe=self.describe)
        if not documents:
            fresh = {name: LampState(version="1.0", image=f"registry.example/{name}:1.0") for name in titles}
            await kernel.commit(*(documents.put(name, state) for name, state in fresh.items()))
        self.containers = look_after(kernel, domain, JOBS.own)
        kernel.accept_tokens_in(*TOKEN_HEADERS)
        whereabouts = self.containers.observation.whereabouts
        kernel.register_kind(LAMP, lambda name: Principal("lamp", name, Role.DEFAULT), whereabouts)

    def describe(self, name: str, state: LampState) -> ManagedContainer:
        """What each of them is."""
        return ManagedContainer(
            name=name,
            version=state.version,
            image=state.image,
            desired=state.desired,
            specification=lambda token: self.specification(name, state, token),
            missing_image=pulled_if_missing(self.kernel, state.image),
            reused=self.reused,
            stage=Stage.BASE,
            after=frozenset({"socket"}),
            probe=self.ask if name == "lamp" else None,
            ready=self.ask if name == "lamp" else None,
            ready_within=timedelta(0),
            kept_for_roll_back={"data": DATA} if name == "lamp" else {},
        )

    async def specification(self, name: str, state: LampState, token: str) -> ContainerSpec:
        """What the engine is told."""
        environment = {"SUPERVISOR_TOKEN": token, **self.words}
        mounts = (Mount(DATA, "/data"),)
        return ContainerSpec(name=f"hassio_{name}", image=state.image, environment=environment, mounts=mounts)

    async def ask(self) -> str | None:
        """Whether the lamp gives light."""
        return self.complaint

    def tasks(self) -> Iterable[Task]:
        """What is looked after."""
        return self.containers.tasks()
