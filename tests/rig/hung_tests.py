"""A test whose time is over tells what everybody in it waits for, and is ended where that is noticed.

pytest-timeout raises where its signal happens to arrive. Amid a callback of the event loop that ends nothing: the loop
logs it, the task that was to be woken sleeps for ever, and a client somewhere waits for an answer. So it is raised
where the loop waits. What the tasks wait for, and what lies in the sockets, is a section of the test's report.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from attrs import define

AGAIN_S: Final = 0.05
"""Seconds after which it is looked again whether the loop waits."""
BUSY: Final = 40
"""Looks after which it is ended wherever it is: a loop that never waits is what hangs."""


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, Any, Any]:
    """Be asked first when the time is over."""
    is_set = yield
    ending = signal.getsignal(signal.SIGALRM)
    if settings.method == "signal" and callable(ending):
        signal.signal(signal.SIGALRM, _TimeIsOver(item, ending))
    return is_set


@define
class _TimeIsOver:
    item: pytest.Item
    end: Callable[[int, FrameType | None], Any]
    looks: int = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.looks += 1
        if _is_in_callback(frame) and self.looks < BUSY:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
            return
        self.item.add_report_section("call", "what everybody waits for", what_everybody_waits_for())
        self.end(number, frame)


def _is_in_callback(frame: FrameType | None) -> bool:
    running = asyncio._get_running_loop() is not None
    return running and frame is not None and Path(frame.f_code.co_filename).name != "selectors.py"


def what_everybody_waits_for() -> str:
    """The tasks of all event loops with where each stands, and this process's sockets with what lies in them."""
    loops = [thing for thing in gc.get_objects() if issubclass(type(thing), asyncio.AbstractEventLoop)]
    tasks = (task for loop in loops for task in asyncio.all_tasks(loop))
    lines = [line for task in sorted(tasks, key=asyncio.Task.get_name) for line in _of_task(task)]
    return "\n".join([*lines, "", *_sockets()])


def _of_task(task: asyncio.Task[Any]) -> Iterator[str]:
    yield f"{task.get_name()}{' (was cancelled)' if task.cancelling() else ''}"
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", getattr(awaited, "gi_frame", None))) is not None:
        code = frame.f_code
        yield f"  {'/'.join(Path(code.co_filename).parts[-3:])}:{frame.f_lineno} {code.co_qualname}"
        awaited = getattr(awaited, "cr_await", getattr(awaited, "gi_yieldfrom", None))
    if awaited is not None:
        yield f"  {awaited!r}"


def _sockets() -> list[str]:
    try:
        listed = subprocess.run(["ss", "-xtnap"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return [f"sockets: {error}"]
    heading, *lines = listed.splitlines()
    return [heading, *(line for line in lines if f"pid={os.getpid()}," in line)]
