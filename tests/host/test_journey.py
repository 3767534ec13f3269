"""The journey of a newcomer, on a whole host: its engine logs to the journal, and its bus and services are there.

The tests are those of :mod:`tests.e2e.test_journey`; only the engine that they ask for is another.
"""

import pytest

from tests.e2e.test_journey import *  # noqa: F403 - all of them, and the fixtures that they stand on


@pytest.fixture(autouse=True)
def as_it_was() -> None:
    """The journey is one of add-ons only: nothing of the host is to be put back after each of its tests."""


pytestmark = pytest.mark.xdist_group("host")
