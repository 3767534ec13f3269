"""A running system whose installed plugins are the test's choice."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

import structlog

from rooftree.clock import MACHINE, Clock
from rooftree.interfaces import hooks
from rooftree.plugins import GROUP, Plugin
from rooftree.process import RecentLogs, System
from rooftree.settings import Settings, load
from rooftree.testing.failures import Failing, nothing_fails


class InstalledPlugin(EntryPoint):
    """An entry point that no distribution has: for plugin and driver classes that are defined in a test.

    :param name: the plugin's or driver's name
    :param loading: called in a thread, in place of the import; what it returns should be the class
    :param distribution: what it claims to belong to
    :param group: the entry-point group, for a driver
    """

    def __init__(
        self, name: str, loading: Callable[[], Any], distribution: Distribution | None = None, group: str = GROUP
    ) -> None:
        super().__init__(name, f"{loading.__module__}:{name}", group)
        vars(self).update(loading=loading, dist=distribution)

    def load(self) -> Any:
        """What ``loading`` returns."""
        return vars(self)["loading"]()


@asynccontextmanager
async def running_system(
    folder: Path,
    *,
    plugins: Iterable[type[Plugin] | EntryPoint] = (),
    settings: Mapping[str, object] | None = None,
    allow: Collection[Failing] = (),
    logs: RecentLogs | None = None,
    clock: Clock = MACHINE,
) -> AsyncIterator[System]:
    """A system with exactly these plugins, started when the block begins and stopped when it ends.

    No plugin that happens to be installed is loaded, and neither the operator's file nor the environment is read. It
    listens on a free port of the loopback interface (``system.port``) and on a unix socket. Two at once in one process
    must not have the same plugin: when one stops, the tasks that a plugin of it left are found by the plugin's name.

    What goes wrong in the system though nobody asked about it (see :data:`~rooftree.testing.Failing`) is an
    ``AssertionError`` at the end of the block.

    :param plugins: plugin classes, and entry points of plugins and drivers
    :param folder: the data folder is made in it; give the same again for a restart
    :param settings: by dotted key, such as ``{"kernel.start_timeout_s": 1, "plugins.notes.limit": 3}``
    :param allow: what may go wrong, such as ``{"task_failed"}``, because the test is about it
    :param logs: where the latest log lines are kept, as :func:`rooftree.daemon.configure` returned it
    :param clock: what the system goes by, such as a :class:`~rooftree.testing.FakeClock`
    """
    _print_plainly()
    # In a folder of its own: the path of a unix socket has 107 characters at most, and that of a test may have more.
    socket_folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="rooftree-")
    try:
        chosen = await asyncio.to_thread(_settings, folder, Path(socket_folder.name), settings or {})
        system = System(chosen, logs or RecentLogs(), [hooks], clock)
        with nothing_fails(allow) as failures:
            await system.open()
            failures.watch(system)
            try:
                await system.start_plugins([_entry_point(plugin) for plugin in plugins])
                yield system
            finally:
                failures.note_problems(system.problems)
                await system.stop()
                await failures.heard()
    finally:
        await asyncio.to_thread(socket_folder.cleanup)


def _print_plainly() -> None:
    """Where nobody has set logging up, structlog prints tracebacks without rich: to load that when the first error is
    logged holds the loop, of which the test would be told."""
    if not structlog.is_configured():
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])


def _settings(folder: Path, socket_folder: Path, settings: Mapping[str, object]) -> Settings:
    places: dict[str, object] = {
        "kernel.data_dir": str(folder / "data"),
        "kernel.socket": str(socket_folder / "rooftree.sock"),
        "kernel.port": 0,
        "kernel.blocked_exit_s": 0,  # a debugger blocks the loop as well, and the process is the test's
        "kernel.disk_reserve_mib": 0,  # tests leave their folders behind, by the thousand
    }
    return load(config=None, environ={"ROOFTREE_CONFIG": ""}, flags={**places, **settings})


def _entry_point(plugin: type[Plugin] | EntryPoint) -> EntryPoint:
    return plugin if isinstance(plugin, EntryPoint) else InstalledPlugin(plugin.name, lambda: plugin)
