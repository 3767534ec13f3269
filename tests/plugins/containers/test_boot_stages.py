"""Who starts after whom: in a stage, and among domains."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import frozen

from rooftree import Kernel, Plugin, Task, document
from rooftree.interfaces.containers import CONTAINER_ENGINE, ContainerSpec, ContainerStatus, Health
from rooftree.testing import running_system
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin, FakeImage
from rooftree_containers import Desired, DomainNames, ManagedContainer, Stage, boot_stages, managed_containers
from rooftree_containers.boot_stages import waits_for
from rooftree_containers.container_jobs import domain_jobs
from rooftree_containers.standing import StandingContainer, StandingDomain, look_after
from tests.rig.waiting import until


async def plain(_: str, name: str = "x") -> ContainerSpec:
    """A container of which only its name is of interest."""
    return ContainerSpec(name=name, image="image")


def described(name: str, after: Iterable[str] = (), provides: Iterable[str] = ()) -> ManagedContainer:
    """A container that waits for others."""
    return ManagedContainer(
        name=name, version="1", image="image", desired=Desired.STARTED, specification=plain,
        after=frozenset(after), provides=frozenset(provides),
    )  # fmt: skip


def test_who_waits_for_a_name_or_for_what_is_provided_starts_after_that() -> None:
    stage = [described("a", {"b", "light"}), described("b"), described("c", provides={"light"}), described("d")]

    assert waits_for(stage) == {"a": {"b", "c"}, "b": set(), "c": set(), "d": set()}


def test_who_waits_for_what_it_provides_does_not_wait_for_itself_and_nobody_waits_in_a_circle() -> None:
    own = [described("a", {"light"}, {"light"})]
    circle = [described("a", {"b"}), described("b", {"a"}), described("c", {"a"})]

    assert waits_for(own) == {"a": set()}
    assert waits_for(circle) == {"a": set(), "b": set(), "c": set()}


@document("early.container", version=1)
@frozen(kw_only=True)
class EarlyState(StandingContainer):
    """What is kept of one that comes first."""


@document("late.container", version=1)
@frozen(kw_only=True)
class LateState(StandingContainer):
    """What is kept of one that comes last."""


EARLY = domain_jobs(DomainNames(plugin="early", owner="service", context="early", kept_folder="k"), "early", __name__)
LATE = domain_jobs(DomainNames(plugin="late", owner="service", context="late", kept_folder="k"), "late", __name__)


class OneContainer(Plugin):
    """A domain with one container, called like its plugin."""

    stage: ClassVar[Stage]
    state: ClassVar[type[StandingContainer]]
    requires = (CONTAINER_ENGINE,)

    async def setup(self, kernel: Kernel) -> None:
        """Look after it."""
        names = DomainNames(plugin=self.name, owner="service", context=self.name, kept_folder="k")
        documents = await kernel.collection(self.state)
        if not documents:
            await kernel.commit(documents.put(self.name, self.state(version="1", image="image")))
        mine = {self.name: self.name}
        domain = StandingDomain(kernel, names, documents, titles=mine, containers=mine, describe=self.describe)
        self.containers = look_after(kernel, domain, (EARLY if self.name == "early" else LATE).own)

    def describe(self, name: str, state: StandingContainer) -> ManagedContainer:
        """What it is."""
        return ManagedContainer(
            name=name, version="1", image="image", desired=state.desired, stage=self.stage,
            specification=lambda token: plain(token, name),
        )  # fmt: skip

    def tasks(self) -> Iterable[Task]:
        """What is looked after."""
        return self.containers.tasks()


class EarlyPlugin(OneContainer):
    """One that all others need."""

    name = "early"
    provides = (managed_containers("early"),)
    stage = Stage.BASE
    state = EarlyState


class LatePlugin(OneContainer):
    """One for which the others come first."""

    name = "late"
    provides = (managed_containers("late"),)
    stage = Stage.CORE
    state = LateState


@pytest.mark.parametrize("patience_s", [30.0, 0.1])
async def test_stage_begins_when_all_domains_are_through_with_those_before_it_or_are_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    engine = FakeContainerEngine()
    engine.load_image("image", FakeImage(health_check=True))
    monkeypatch.setattr(boot_stages, "STAGE_WITHIN_S", patience_s)

    async def is_there(name: str) -> bool:
        return await engine.container(name) is not None

    async def runs(name: str) -> bool:
        container = await engine.container(name)
        return container is not None and container.status is ContainerStatus.RUNNING

    async with running_system(tmp_path, plugins=[FakeEnginePlugin.serving(engine), LatePlugin, EarlyPlugin]) as system:
        await until(lambda: runs("early"), within_s=10, what="the first")
        await system.bus.drained()
        await asyncio.sleep(0.05)
        too_soon = await is_there("late")
        if patience_s > 1:
            assert not too_soon
            engine.set_health("early", Health.HEALTHY)
        await until(lambda: runs("late"), within_s=10, what="the second")
        for name in ("early", "late"):
            engine.set_health(name, Health.HEALTHY)
