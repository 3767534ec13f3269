"""Calls that block the loop are errors, found out in less time than blockbuster takes for it.

It looks at some thousand calls in each test, and walks the whole stack for each one on a loop. Which frames matter
depends only on the names of file and function, so each pair is looked at once; and who calls in a thread without a
loop is told without an exception. What is an error stays what it is in ``blockbuster.blockbuster._wrap_blocking``.
"""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any
from unittest import mock

from blockbuster import BlockBuster, BlockingError, blockbuster, blockbuster_ctx

_NEITHER, _OURS, _MAY_BLOCK = range(3)


@contextmanager
def blocking_calls_refused(modules: Sequence[str]) -> Iterator[BlockBuster]:
    """A blocking call on a loop, below functions of these modules, raises ``BlockingError`` during the block."""
    with mock.patch.object(blockbuster, "_wrap_blocking", _wrap_blocking), blockbuster_ctx([*modules]) as active:
        yield active


def _wrap_blocking(
    modules: Sequence[str],
    excluded_modules: Sequence[str],
    function: Callable[..., Any],
    name: str,
    can_block_functions: list[tuple[str, Iterable[str]]],
    can_block_predicate: Callable[..., bool],
) -> Callable[..., Any]:
    ours, theirs = tuple(modules), tuple(excluded_modules)
    verdicts: dict[tuple[str, str], int] = {}
    decided_with = 0  # exceptions: more may be added at any time

    def verdict(file: str, caller: str) -> int:
        if any(file.endswith(end) and caller in callers for end, callers in can_block_functions):
            return _MAY_BLOCK
        return _OURS if file.startswith(ours) and not file.startswith(theirs) else _NEITHER

    def may_block(frame: FrameType | None) -> bool:
        nonlocal decided_with
        if decided_with != len(can_block_functions):
            verdicts.clear()
            decided_with = len(can_block_functions)
        below_ours = False
        while frame is not None:
            code = frame.f_code
            place = code.co_filename, code.co_name
            known = verdicts.get(place)
            if known is None:
                known = verdicts[place] = verdict(*place)
            if known == _MAY_BLOCK:
                return True
            below_ours = below_ours or known == _OURS
            frame = frame.f_back
        return not below_ours

    skip = blockbuster._skip

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if _get_running_loop() is None or skip.value:
            return function(*args, **kwargs)
        skip.value = True
        try:
            if can_block_predicate(*args, **kwargs) or may_block(sys._getframe(1)):
                return function(*args, **kwargs)
            raise BlockingError(name)
        finally:
            skip.value = False

    return wrapper
