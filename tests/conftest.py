"""What holds for every test: no code of ours may block the event loop, and what is logged is pytest's to show."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog
from _pytest.nodeid import coerce_node_id
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

from tests.lazy_disk import lazy_disk
from tests.requirements import missing
from tests.rig.blocking_calls import blocking_calls_refused
from tests.rig.forked_workers import forked_workers
from tests.rig.hung_tests import pytest_timeout_set_timer as pytest_timeout_set_timer
from tests.workspace import plugins

os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent/this-is-a-test"
"""No test, and no daemon of one, may reach the bus of the machine that it runs on: one call there ends the machine."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Where this is set, each daemon of a test compiles all its code again: half of the time that it needs to start. And
each worker of each run rewrites the asserts of every test anew: half of the time that collecting takes."""

gc.disable()
"""While the tests are imported, which only adds: to look through it again and again was a third of collecting, and each
worker collects. It goes on when all are known, and what is there by then is looked through no more."""

settings.register_profile("unhurried", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
"""Hypothesis's own clocks measure how busy the machine is; its profile for CI has none either. What has to be quick has
tests that say so. Each run tries other examples, so half of the usual number is enough for one."""

OURS = ("rooftree", *(plugin.package for plugin in plugins()))
"""Blocking calls are looked for below these; what a test itself does on its loop is its own affair."""


ALLOWED = {
    (
        "rooftree/events/cron.py",
        "_trigger",
    ): "imports APScheduler, once, while the first plugin with times of day starts",
    (
        "tests/rig/forked_workers.py",
        "spawn_or_fork",
    ): "is what starts a process, which blocks for as long",
}
"""What may block all the same: file and function, with the reason."""


LONGEST_FIRST = (
    "tests/packaging",
    "tests/docs/test_plugin_pages.py",
    "tests/e2e/test_kills.py",
    "tests/host",
    "tests/contract/test_api_conformance.py",
    "tests/attacks",
    "tests/e2e",
    "tests/contract",
    "tests/docs",
)
"""Files whose tests are begun before all others, those that stay together longest before the rest: what is left for the
end is short, and no worker waits for another that still has minutes to go."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests, and let ``--dist loadgroup`` keep groups together: pytest-xdist 3.8 writes a test's group where
    pytest 9.2 no longer reads the test's id, and each worker would make an engine or a host of its own."""
    items.sort(key=lambda item: next((n for n, begin in enumerate(LONGEST_FIRST) if item.nodeid.startswith(begin)), 99))
    if config.getoption("loadgroup", default=False):
        for item in items:
            if (grouped := getattr(item, "_nodeid", None)) is not None:
                item._id = coerce_node_id(grouped)


def pytest_collection_finish() -> None:
    """Garbage comes from here on. With the rest frozen, Python takes the little that a test makes for the whole, and
    would look through all of it time and again."""
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked with :func:`tests.requirements.needs` and lacks it; in CI it fails."""
    for mark in item.iter_markers("needs"):
        there, reason = mark.args
        if not there:
            missing(reason)


@pytest.fixture(autouse=True, scope="session")
def blocking_calls_are_errors() -> Iterator[BlockBuster]:
    """A call that blocks the loop raises ``blockbuster.BlockingError`` where it happens."""
    with blocking_calls_refused(OURS) as blockbuster:
        for file, function in ALLOWED:
            for blocking in blockbuster.functions.values():
                blocking.can_block_in(file, function)
        yield blockbuster


@pytest.fixture(autouse=True, scope="session")
def disk_is_lazy() -> Iterator[None]:
    """Nobody waits for it."""
    with lazy_disk():
        yield


@pytest.fixture(autouse=True, scope="session")
def workers_are_forks() -> Iterator[None]:
    """Archives are worked on by processes that need not import anything."""
    with forked_workers():
        yield


@pytest.fixture(autouse=True)
def timed_tests_come_first(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test measures in milliseconds must not be the doing of others beside it: root may go before them, and so
    do the processes that it starts."""
    if request.node.get_closest_marker("timed") is None:
        yield
        return
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    yield
    os.setpriority(os.PRIO_PROCESS, 0, 0)


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
