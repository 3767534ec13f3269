"""A system with the supervisor plugin and nothing else, and a client that may do everything."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path

import pytest
import structlog

from rooftree.daemon import configure
from rooftree.process import RecentLogs
from rooftree.process.recent_logs import CHATTY
from rooftree.process.system import System
from rooftree.testing import Client, Failing, fixtures, running_system
from rooftree_supervisor.plugin import SupervisorPlugin


@pytest.fixture(autouse=True)
def logs() -> Iterator[RecentLogs]:
    """Logging as in a daemon, with the latest lines; afterwards everything is as it was."""
    loggers = [logging.getLogger(name) for name in ("", *CHATTY)]
    levels, handlers = [logger.level for logger in loggers], logging.getLogger().handlers[:]
    yield configure("info", "text", stream=io.StringIO())
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
async def loop_debug() -> AsyncIterator[None]:
    """Put asyncio's debug mode back."""
    loop = asyncio.get_running_loop()
    before = loop.get_debug()
    yield
    loop.set_debug(before)


allow = fixtures.allow
"""The fixture."""


@pytest.fixture
async def system(tmp_path: Path, logs: RecentLogs, allow: Collection[Failing]) -> AsyncIterator[System]:
    """The system."""
    async with running_system(tmp_path, plugins=[SupervisorPlugin], logs=logs, allow=allow) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    """An administrator."""
    async with Client.over_unix(system) as administrator:
        yield administrator
