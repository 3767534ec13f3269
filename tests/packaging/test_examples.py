"""The examples as strangers' packages: built, installed into a fresh environment, used by a real daemon, taken out."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from attrs import field, frozen

from tests.packaging.environments import Environment, Wheels, checks
from tests.packaging.installed_daemon import InstalledDaemon, Running
from tests.workspace import ROOT

pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]
WITHIN_S = 30.0


@frozen
class Example:
    """A folder of ``examples/`` that is a plugin."""

    folder: str
    plugin: str
    route: str
    """What to GET from it."""
    counts: str
    """The number in that answer which its task makes rise, and which it keeps."""
    settings: Mapping[str, object] = field(factory=dict)
    """What the operator sets, by dotted key below ``plugins``, so that the task runs while a test waits."""
    needs: tuple[str, ...] = ()
    """Folders of ``plugins/`` that it needs beside the kernel."""

    @property
    def source(self) -> Path:
        return ROOT / "examples" / self.folder

    @property
    def distribution(self) -> str:
        return f"rooftree-{self.folder}"


EXAMPLES = [
    Example("service-clock", "clock", route="/clock", counts="ticks", settings={"clock.tick_s": 1}),
]


@pytest.fixture(params=EXAMPLES, ids=lambda example: example.folder, scope="module")
def example(request: pytest.FixtureRequest) -> Example:
    found: Example = request.param
    return found


@pytest.fixture(scope="module")
def environment(example: Example, wheels: Wheels, new_environment: Callable[[], Environment]) -> Iterator[Environment]:
    """An environment with the example in it."""
    made = new_environment()
    made.install(*(wheels.of(ROOT / "plugins" / name) for name in example.needs), wheels.of(example.source))
    yield made


def until_it_rises(running: Running, example: Example, above: int = 0) -> int:
    deadline = time.monotonic() + WITHIN_S
    while (count := int(running.call("GET", example.route)[example.counts])) <= above:
        assert time.monotonic() < deadline, f"its task has not run\n{running.log()}"
        time.sleep(0.2)
    return count


def rows_of(data: Path) -> set[tuple[str, str]]:
    """What the database of a daemon that has stopped holds, by collection and key."""
    connection = sqlite3.connect(f"file:{data / 'rooftree.db'}?mode=ro", uri=True)
    try:
        return set(connection.execute("SELECT collection, key FROM document"))
    finally:
        connection.close()


def test_example_passes_its_own_tests_where_it_is_installed(environment: Environment, example: Example) -> None:
    told = environment.run(
        "python", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", cwd=example.source
    )  # fmt: skip

    assert " passed" in told
    assert "skipped" not in told


def test_example_holds_to_the_linters_with_what_is_published(environment: Environment, example: Example) -> None:
    checks(environment, example.source, ("src", "tests"))


def test_example_is_discovered_serves_works_and_keeps_what_it_has_over_a_restart(
    environment: Environment, example: Example, tmp_path: Path
) -> None:
    daemon = InstalledDaemon(environment, tmp_path / "data", example.settings)

    with daemon.running() as running:
        plugin = running.plugins()[example.plugin]
        counted = until_it_rises(running, example)
    with daemon.running() as running:
        after_restart = int(running.call("GET", example.route)[example.counts])

    assert (plugin["state"], plugin["reason"]) == ("ok", None)
    assert plugin["distribution"] == example.distribution
    assert after_restart >= counted > 0


def test_example_that_is_uninstalled_is_found_again_when_it_comes_back_and_leaves_no_trace_when_it_is_purged(
    wheels: Wheels, new_environment: Callable[[], Environment], example: Example, tmp_path: Path
) -> None:
    environment = new_environment()
    daemon = InstalledDaemon(environment, tmp_path / "data", {})
    with daemon.running():
        pass
    rows_before = rows_of(daemon.data)
    with_example = InstalledDaemon(environment, daemon.data, example.settings)
    environment.install(*(wheels.of(ROOT / "plugins" / name) for name in example.needs), wheels.of(example.source))
    with with_example.running() as running:
        counted = until_it_rises(running, example)

    environment.uninstall(example.distribution)
    with daemon.running() as running:
        assert example.plugin not in running.plugins()
        assert f"purge {example.plugin}" in running.refusal("GET", example.route)
    environment.install(wheels.of(example.source))
    with with_example.running() as running:
        assert int(running.call("GET", example.route)[example.counts]) >= counted
    environment.uninstall(example.distribution)
    with daemon.running() as running:
        purged = running.rooftree("plugins", "purge", example.plugin, "--yes")
        assert purged.returncode == 0, purged.stderr
        assert running.refusal("GET", example.route) == f"There is nothing at {example.route}"
        problems = running.call("GET", "/kernel/v1/problems")["problems"]

    assert rows_of(daemon.data) == rows_before
    assert problems == []
    assert not list(environment.folder.glob(f"lib/*/site-packages/*{example.distribution.replace('-', '_')}*"))
