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

from collections.abc import Iterable
from typing import Self

from rooftree.events import Task
from rooftree.interfaces.containers import CONTAINER_ENGINE, EngineConnected
from rooftree.plugins import Kernel, Plugin
from rooftree.testing.fake_containers import FakeImage
from rooftree.testing.fake_engine import BROKEN_INSTRUCTION, FakeContainerEngine
from rooftree.testing.scripted_calls import Hold, Verb


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
