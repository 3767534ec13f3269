"""Which plugins and drivers are to run: those in files that were named at the start, then as the operator's settings
say, and else as was chosen while we ran.

A driver is named with what it drives, ``boards.acme``; of a plugin's name no dot is part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from attrs import field, frozen

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
    in_files: set[str] = field(factory=set)
    """The plugins that run because a flag names their files, whatever was chosen of them."""

    @classmethod
    async def load(cls, settings: Settings, state: State) -> Self:
        """Read what was chosen in earlier runs."""
        return cls(settings, state, await state.collection(PluginChoice))

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def why_disabled(self, name: str) -> str | None:
        """Why one is not to run, or ``None``."""
        if self._is_ruled_out(name):
            return f"by {self._origin(name)}"
        if name in self.in_files:
            return None
        choice = self._kept.get(name)
        return choice.reason if choice is not None and not choice.enabled else None

    def refuse_enabling(self, name: str) -> None:
        """Raise :class:`Conflict` where the operator's settings keep it from running."""
        if self._is_ruled_out(name):
            raise Conflict(f"{_what(name)} {name} is disabled by {self._origin(name)}; change that", plugin=name)

    def refuse_disabling(self, name: str) -> None:
        """Raise :class:`Conflict` where the operator's settings name it among those that run, or a flag its file."""
        if name in self.in_files:
            raise Conflict(f"Plugin {name} is enabled by flag --plugin; change that", plugin=name)
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

    def _is_ruled_out(self, name: str) -> bool:
        settings = self._settings
        if "." in name or name in self.in_files:
            return name in settings.disabled
        return not settings.runs(name)

    def _origin(self, name: str) -> str | None:
        return self._settings.origin("plugins.disabled" if name in self._settings.disabled else "plugins.enabled")


def _what(name: str) -> str:
    return "Driver" if "." in name else "Plugin"
