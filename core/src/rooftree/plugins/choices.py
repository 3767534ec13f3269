"""Which plugins and drivers are to run: as the operator's settings say, and else as was chosen while we ran.

A driver is named with what it drives, ``boards.acme``; of a plugin's name no dot is part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from attrs import frozen

from rooftree.errors import Conflict
from rooftree.settings import Settings
from rooftree.state import Change, Collection, State, document


@document("kernel.plugin_choice", version=1)
@frozen
class PluginChoice:
    """What was decided of a plugin or driver at run time."""

    enabled: bool
    reason: str
    """Who or what decided it, for whoever wonders why it does not run."""


@frozen(eq=False)
class Choices:
    """What was decided of each."""

    _settings: Settings
    _state: State
    _kept: Collection[PluginChoice]

    @classmethod
    async def load(cls, settings: Settings, state: State) -> Self:
        """Read what was chosen in earlier runs."""
        return cls(settings, state, await state.collection(PluginChoice))

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def why_disabled(self, name: str) -> str | None:
        """Why one is not to run, or ``None``."""
        settings = self._settings
        if name in settings.disabled or ("." not in name and not settings.runs(name)):
            return f"by {self._origin(name)}"
        choice = self._kept.get(name)
        return choice.reason if choice is not None and not choice.enabled else None

    def refuse_enabling(self, name: str) -> None:
        """Raise :class:`Conflict` where the operator's settings keep it from running."""
        if name in self._settings.disabled or ("." not in name and not self._settings.runs(name)):
            raise Conflict(f"{_what(name)} {name} is disabled by {self._origin(name)}; change that", plugin=name)

    def refuse_disabling(self, name: str) -> None:
        """Raise :class:`Conflict` where the operator's settings name it among those that run."""
        if name in self._settings.enabled:
            raise Conflict(f"{_what(name)} {name} is enabled by {self._origin(name)}; change that", plugin=name)

    async def choose(self, name: str, *, enabled: bool, reason: str) -> None:
        """Keep a choice."""
        choice = PluginChoice(enabled, reason)
        if self._kept.get(name) != choice:
            await self._state.commit(self._kept.put(name, choice))

    def removal(self, name: str) -> list[Change]:
        """The change that forgets what was chosen of one, if anything was."""
        return [self._kept.delete(name)] if name in self._kept else []

    def _origin(self, name: str) -> str | None:
        return self._settings.origin("plugins.disabled" if name in self._settings.disabled else "plugins.enabled")


def _what(name: str) -> str:
    return "Driver" if "." in name else "Plugin"
