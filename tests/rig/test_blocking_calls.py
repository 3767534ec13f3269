"""Who blocks the loop below a function of ours is told; in a thread, elsewhere and where it is allowed nobody is."""

from __future__ import annotations

import asyncio
import threading
import time
from types import ModuleType

import pytest
from blockbuster import BlockBuster, BlockingError

import rooftree

CODE = """
import os, time
def look(): return os.stat("/")
def rest(): time.sleep(0)
def over(call): return call()
"""


@pytest.fixture
def ours() -> ModuleType:
    """A module whose file lies below the kernel's folder."""
    module = ModuleType("within")
    exec(compile(CODE, f"{rooftree.__path__[0]}/within.py", "exec"), vars(module))
    return module


@pytest.mark.parametrize("verb", ["look", "rest"])
async def test_blocking_call_below_ours_is_an_error_each_time(ours: ModuleType, verb: str) -> None:
    for _ in range(3):
        with pytest.raises(BlockingError):
            getattr(ours, verb)()


async def test_function_of_others_between_is_no_excuse(ours: ModuleType) -> None:
    with pytest.raises(BlockingError):
        ours.over(lambda: time.sleep(0))


async def test_others_and_threads_may_block(ours: ModuleType) -> None:
    time.sleep(0)
    await asyncio.to_thread(ours.look)


async def test_exception_that_is_added_later_counts(ours: ModuleType, blocking_calls_are_errors: BlockBuster) -> None:
    exceptions = blocking_calls_are_errors.functions["time.sleep"].can_block_functions
    with pytest.raises(BlockingError):
        ours.rest()
    exceptions.append(("rooftree/within.py", {"rest"}))
    try:
        ours.rest()
    finally:
        exceptions.pop()
    with pytest.raises(BlockingError):
        ours.rest()


async def test_lock_that_is_free_is_no_blocking_call(ours: ModuleType) -> None:
    lock = threading.Lock()
    assert ours.over(lock.acquire)
    with pytest.raises(BlockingError):
        ours.over(lock.acquire)
