"""What holds for every test: no code of ours may block the event loop, and what is logged is pytest's to show."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from _pytest.nodeid import coerce_node_id
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from tests.lazy_disk import lazy_disk
from tests.requirements import missing
from tests.workspace import plugins

os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent/this-is-a-test"
"""No test, and no daemon of one, may reach the bus of the machine that it runs on: one call there ends the machine."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Where this is set, each daemon of a test compiles all its code again: half of the time that it needs to start."""

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
"""Hypothesis's own clocks measure how busy the machine is; its profile for CI has none either. What has to be quick has
tests that say so."""

OURS = ("rooftree", *(plugin.package for plugin in plugins()))
"""Blocking calls are looked for below these; what a test itself does on its loop is its own affair."""


ALLOWED = {
    (
        "rooftree/events/cron.py",
        "_trigger",
    ): "imports APScheduler, once, while the first plugin with times of day starts",
}
"""What may block all the same: file and function, with the reason."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let ``--dist loadgroup`` keep groups together: pytest-xdist 3.8 writes a test's group where pytest 9.2 no longer
    reads the test's id, and each worker would make an engine or a host of its own."""
    if config.getoption("loadgroup", default=False):
        for item in items:
            if (grouped := getattr(item, "_nodeid", None)) is not None:
                item._id = coerce_node_id(grouped)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked with :func:`tests.requirements.needs` and lacks it; in CI it fails."""
    for mark in item.iter_markers("needs"):
        there, reason = mark.args
        if not there:
            missing(reason)


@pytest.fixture(autouse=True, scope="session")
def blocking_calls_are_errors() -> Iterator[BlockBuster]:
    """A call that blocks the loop raises ``blockbuster.BlockingError`` where it happens."""
    with blockbuster_ctx([*OURS]) as blockbuster:
        for file, function in ALLOWED:
            for blocking in blockbuster.functions.values():
                blocking.can_block_in(file, function)
        yield blockbuster


@pytest.fixture(autouse=True, scope="session")
def disk_is_lazy() -> Iterator[None]:
    """Nobody waits for it."""
    with lazy_disk():
        yield


@pytest.fixture(autouse=True)
def logs_go_to_pytest() -> None:
    """Through the standard library, as in the daemon: structlog's own default reads source files while it prints."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    logging.getLogger().setLevel(logging.DEBUG)
