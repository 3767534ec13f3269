"""What holds for every test: no code of ours may block the event loop, and logging is set up as in the daemon."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from rooftree import logs

OURS = (
    "rooftree",
    "rooftree_addons",
    "rooftree_containers",
    "rooftree_docker",
    "rooftree_store",
    "rooftree_supervisor",
)
"""Blocking calls are looked for below these; what a test itself does on its loop is its own affair."""


class CurrentStandardError(io.StringIO):
    """Writes to what is standard error at that moment: pytest has another one for each test."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)


@pytest.fixture(autouse=True, scope="session")
def logs_as_in_the_daemon() -> None:
    """structlog's own default reads source files while it prints, and so blocks the loop."""
    logs.configure("debug", "text", stream=CurrentStandardError())


@pytest.fixture(autouse=True, scope="session")
def blocking_calls_are_errors(logs_as_in_the_daemon: None) -> Iterator[BlockBuster]:
    """A call that blocks the loop raises ``blockbuster.BlockingError`` where it happens."""
    with blockbuster_ctx(list(OURS)) as blockbuster:
        yield blockbuster
