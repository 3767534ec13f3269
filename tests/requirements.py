"""What a test needs from the machine and does not find.

On a developer's machine a missing part skips the test with the reason; in CI (``CI=true``) it fails it, because there a
skipped test would look like a passed one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NoReturn

import pytest


def needs(there: bool, reason: str) -> pytest.MarkDecorator:
    """A mark for tests of something that may be missing; checked in ``tests/conftest.py``.

    :param reason: what it needs, with the packages that bring it
    """
    return pytest.mark.needs(there, reason)


SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
"""What lies beside a checkout of the project's own and is no part of it: contract, reference, corpus."""


def needs_shared(path: Path) -> pytest.MarkDecorator:
    """A mark for tests that read what lies beside the checkout, in :data:`SHARED`."""
    return needs(path.exists(), f"needs ../{path.relative_to(SHARED.parent)} beside the checkout")


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (in CI this fails the test instead of skipping it)", pytrace=False)
    pytest.skip(reason)
