"""Whether our memory may be worse than the engine's."""

from __future__ import annotations

from typing import Final

from rooftree import Kernel

STATE_DAMAGED: Final = "state_damaged"
"""The kernel's problem that says that something stored was lost; it stays until somebody has seen to it."""


def state_is_damaged(kernel: Kernel) -> bool:
    """Whether something that was stored is known to be lost: then what we do not know may be there all the same."""
    return any(problem.type == STATE_DAMAGED for problem in kernel.problems)
