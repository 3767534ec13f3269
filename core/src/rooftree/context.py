"""What is true for the call under way: who called, and in which job."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rooftree.access import Principal

caller: ContextVar[Principal | None] = ContextVar("caller", default=None)
"""The principal whose request is being answered, or whose request began the job under way."""
