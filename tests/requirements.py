"""What a test needs from the machine and does not find.

On a developer's machine a missing part skips the test with the reason; in CI (``CI=true``) it fails it, because there a
skipped test would look like a passed one.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def needs(there: bool, reason: str) -> pytest.MarkDecorator:
    """A mark for tests of something that may be missing; checked in ``tests/conftest.py``.

    :param reason: what it needs, with the packages that bring it
    """
    return pytest.mark.needs(there, reason)


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (in CI this fails the test instead of skipping it)", pytrace=False)
    pytest.skip(reason)
