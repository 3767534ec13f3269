"""The daemon's life: from settings to exit status.

This is the composition root, the one place of the kernel's distribution that joins the kernel with the domains' hooks.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import resource
import signal
from collections.abc import Callable, Iterable

import structlog

from rooftree.daemon.logs import configure
from rooftree.errors import RooftreeError
from rooftree.events import Task
from rooftree.interfaces import hooks
from rooftree.plugins import Installed, Plugins
from rooftree.process import System, notify
from rooftree.settings import Settings

log = structlog.get_logger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
HEAP_SPARE_BYTES = 128 * 1024
"""What is kept of freed memory at the heap's end: glibc's own figure, which else grows with what was ever freed."""
_M_ARENA_MAX, _M_TRIM_THRESHOLD = -8, -1
"""glibc's mallopt(3)."""


FILES = 65_536
"""As many open files as are taken where they are given: room for 20,000 connections."""


def run(
    settings: Settings,
    in_files: Iterable[Installed] = (),
    beside: Callable[[Plugins], Iterable[Task]] = lambda plugins: (),
) -> int:
    """Run until SIGTERM or SIGINT; the exit status for the shell.

    :param in_files: plugins beside those that are installed
    :param beside: what else is done by the clock when the plugins have started
    """
    _keep_one_heap()
    _have_files_enough()
    logs = configure(settings.kernel.log_level, settings.kernel.log_format)
    system = System(settings, logs, [hooks])
    try:
        with asyncio.Runner() as runner:
            runner.run(_live(system, in_files, beside))
    except RooftreeError as error:
        log.error("not_started", error=error.message)
        return EXIT_FAILED
    return EXIT_OK


async def _live(system: System, in_files: Iterable[Installed], beside: Callable[[Plugins], Iterable[Task]]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await system.open()
    try:
        starting = asyncio.create_task(system.start_plugins(in_files=in_files), name="start plugins")
        stop_asked = asyncio.create_task(stopped.wait(), name="wait for a signal")
        await asyncio.wait({starting, stop_asked}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            for task in beside(system.plugins):
                system.tasks.start(task, "kernel")
            _give_memory_back()
            notify("READY=1")
        await stop_asked
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
    finally:
        notify("STOPPING=1")
        log.info("stopping")
        await system.stop()
        log.info("stopped")


def _have_files_enough() -> None:
    """What a service is given at first (1,024 files with systemd) is for programs with ``select(2)``; we may take more,
    and have room for more connections by it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def _keep_one_heap() -> None:
    """Let all threads share one heap: by itself glibc makes one for nearly each, and what is freed in it stays there.

    Under the interpreter's lock threads hardly ever allocate at the same time, so nothing is lost. It saves 6 MB
    with a large store. Where the C library has no such switch (musl), it does not have these heaps either.
    """
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_TRIM_THRESHOLD, HEAP_SPARE_BYTES)


def _give_memory_back() -> None:
    """Return what the start needed for a while, mostly for parsing, to the machine: 2 MB, in 3 ms."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
