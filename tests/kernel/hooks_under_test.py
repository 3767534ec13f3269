"""Hook specifications for the tests of hooks."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from rooftree import hookspec


@hookspec
def greeting(name: str) -> str | Coroutine[Any, Any, str | None] | None:
    """A greeting for ``name``."""
    raise NotImplementedError


@hookspec
def number() -> int:
    """A number."""
    raise NotImplementedError
