"""What the tests of published packages share: wheels, built once a session, and environments to install them into."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from tests.packaging.environments import Environment, Wheels, find_uv
from tests.workspace import ROOT, with_needs


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    return Wheels(find_uv(), tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def new_environment(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    """Makes environments with the kernel, its test kit, the libraries, and the plugin that answers ``/kernel/v1``."""

    @functools.cache
    def first() -> Environment:
        environment = Environment.fresh(wheels.uv, tmp_path_factory.mktemp("environment") / "venv")
        plugins = [wheels.of(plugin.folder) for plugin in with_needs(["rooftree-supervisor"])]
        environment.install(f"rooftree[testing] @ {wheels.of(ROOT / 'core').as_uri()}", *plugins)
        environment.run("python", "-c", "import pytest, rooftree.daemon, rooftree.testing, rooftree_supervisor.plugin")
        return environment

    return lambda: first().copy(tmp_path_factory.mktemp("environment") / "venv")
