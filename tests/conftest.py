"""What holds for every test: no code of ours may block the event loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

OURS = (
    "rooftree",
    "rooftree_addons",
    "rooftree_containers",
    "rooftree_docker",
    "rooftree_store",
    "rooftree_supervisor",
)
"""Blocking calls are looked for below these; what a test itself does on its loop is its own affair."""


@pytest.fixture(autouse=True, scope="session")
def blocking_calls_are_errors() -> Iterator[BlockBuster]:
    """A call that blocks the loop raises ``blockbuster.BlockingError`` where it happens."""
    with blockbuster_ctx(list(OURS)) as blockbuster:
        yield blockbuster
