"""The tasks that a plugin begins, changes and ends while it runs, such as those at times that its user chose."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from attrs import frozen

from rooftree.events import Task, TaskSupervisor, zone_called
from rooftree.plugins.scope import Scope

_TAKEN: Final = "tasks"
_ZONE: Final = "the time zone of tasks"


@frozen
class PluginTasks:
    """The tasks of one plugin. Those that :meth:`Plugin.tasks` yields are among them from its start on; all end when it
    stops."""

    _all: TaskSupervisor
    _plugin: str
    _scope: Scope

    def add(self, task: Task) -> None:
        """Begin a task; raises ``ValueError`` when the plugin has one of that name."""
        self._all.start(task, self._plugin)
        if not self._scope.has(_TAKEN):
            self._scope.push(_TAKEN, partial(self._all.stop, self._plugin))

    def change(self, task: Task) -> None:
        """Let the task of that name be this one from its next run on, such as at other times. A run under way ends
        first; what failed before still counts. Raises ``KeyError`` when the plugin has none of that name."""
        self._all.change(task, self._plugin)

    async def remove(self, name: str) -> None:
        """End a task, and what it is doing; one that removes itself goes on to its end. Raises ``KeyError`` when the
        plugin has none of that name."""
        await self._all.remove(name, self._plugin)

    def next_runs(self) -> Mapping[str, datetime | None]:
        """When each of the plugin's tasks runs next, in UTC; ``None`` for one that is running. May change with the
        clock, and with the time zone."""
        return self._all.next_runs(self._plugin)

    async def keep_time_of(self, name: str) -> None:
        """Let times of day, of every plugin's tasks, be those of the time zone of that IANA name while this plugin
        runs; UTC, with a word in the log, where there is none such. Only the plugin that keeps the installation's
        preferences has reason to; without it they are in UTC."""
        self._all.zone = await asyncio.to_thread(zone_called, name)
        if not self._scope.has(_ZONE):
            self._scope.push(_ZONE, partial(setattr, self._all, "zone", UTC))
