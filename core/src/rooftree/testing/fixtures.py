"""Fixtures for pytest: a system with your plugin, a client of it, and the clock that it goes by.

In ``tests/conftest.py``, say that you want them, and what they are to run::

    pytest_plugins = ["rooftree.testing.fixtures"]

    @pytest.fixture
    def plugins():
        return [NotesPlugin]

Then a test asks for what it needs::

    async def test_notes_are_kept(client):
        await client.post("/notes", json={"text": "milk"})

        assert (await client.get("/notes")).data == {"notes": ["milk"]}

What goes wrong in the system fails the test: a plugin that does not run, a task that raises … (see
:data:`~rooftree.testing.Failing`). A test that is about such a thing says so::

    @pytest.mark.allow("task_failed")
    async def test_forecast_of_yesterday_is_shown_while_the_weather_service_is_away(client): ...

They need ``pytest-asyncio``, which ``rooftree[testing]`` brings. They are not loaded by themselves: an environment
with Rooftree in it may test other things.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import pytest_asyncio

from rooftree.plugins import Plugin
from rooftree.process import System
from rooftree.testing.client import Client
from rooftree.testing.clock import FakeClock
from rooftree.testing.failures import Failing
from rooftree.testing.running import running_system


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "allow(failing, …): what may go wrong in the system of this test")


@pytest.fixture
def plugins() -> Iterable[type[Plugin] | EntryPoint]:
    """What is installed; yours to override."""
    raise NotImplementedError("define a fixture `plugins` in your conftest.py that returns a list of plugin classes")


@pytest.fixture
def settings() -> Mapping[str, object]:
    """The operator's settings by dotted key; yours to override."""
    return {}


@pytest.fixture
def allow(request: pytest.FixtureRequest) -> Collection[Failing]:
    """What may go wrong in the system: what the test is marked with; yours to override."""
    return frozenset(word for mark in request.node.iter_markers("allow") for word in mark.args)


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the system; time passes when the test says so."""
    return FakeClock()


@pytest_asyncio.fixture
async def system(
    tmp_path: Path,
    plugins: Iterable[type[Plugin] | EntryPoint],
    settings: Mapping[str, object],
    allow: Collection[Failing],
    clock: FakeClock,
) -> AsyncIterator[System]:
    """A running system with the plugins."""
    async with running_system(tmp_path, plugins=plugins, settings=settings, allow=allow, clock=clock) as running:
        yield running


@pytest_asyncio.fixture
async def client(system: System) -> AsyncIterator[Client]:
    """An administrator's client of the system."""
    async with Client.over_unix(system) as calling:
        yield calling
