"""The tests run a real kernel with the clock in it, and nothing else."""

import pytest
from rooftree import Plugin

from rooftree_service_clock.plugin import ClockPlugin

pytest_plugins = ["rooftree.testing.fixtures"]


@pytest.fixture
def plugins() -> list[type[Plugin]]:
    """What is installed."""
    return [ClockPlugin]
