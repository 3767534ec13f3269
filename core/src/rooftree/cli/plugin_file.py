"""A plugin in a single file, beside those that are installed, and loaded anew when the file changes.

For writing one: ``rooftree run --plugin ./speed.py``. The plugin is called as its file is. What is wrong with the file
is the plugin's reason, as with any other, until the file changes again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from datetime import timedelta
from importlib.metadata import EntryPoint
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

import structlog
from attrs import define

from rooftree.errors import Invalid, RooftreeError
from rooftree.events import Task
from rooftree.interfaces.boards import Board
from rooftree.jobs import forget_steps
from rooftree.plugins import GROUP, Installed, Plugin, PluginName, Plugins
from rooftree.settings import Settings

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(seconds=0.5)
"""How often it is looked whether a file has changed."""
PREFIX: Final = "rooftree_"
"""How modules of plugins begin that are to be published; no part of the plugin's name."""


@define
class PluginFile:
    """A file with a plugin: ``speed.py``, or ``rooftree_speed.py``, with the plugin ``speed``."""

    path: Path
    name: str
    module: str
    _seen: bytes
    """What it had in it when it was looked at last."""

    @classmethod
    def at(cls, path: Path) -> PluginFile:
        """The file at a path; raises :class:`~rooftree.errors.Invalid` for one that can be no plugin's. Blocks."""
        module = path.stem
        name = module.removeprefix(PREFIX).replace("_", "-")
        try:
            if path.suffix != ".py" or not module.isidentifier():
                raise ValueError("must be that of a module")
            PluginName.check(name)
            seen = path.read_bytes()  # ours: what whoever starts us names
        except ValueError as error:
            raise Invalid(f"{path}: the name of a plugin's file {error}, such as speed.py") from None
        except OSError as error:
            raise Invalid(f"{path} can't be read: {error.strerror}") from None
        other = None if module.startswith(PREFIX) else find_spec(module)
        if other is not None and not _is_one(path, Path(other.origin or "")):
            raise Invalid(f"{path}: Python has a module {module} already; call the file {PREFIX}{module}.py")
        return cls(path, name, module, seen)

    @property
    def installed(self) -> Installed:
        """It, as if it were installed."""
        return Installed(_FilePoint(self), str(self.path), "")

    def load(self) -> type[Plugin]:
        """The plugin's class, of the file as it is now. Blocks.

        The module is never taken from what was compiled of it, which may be of the same second.
        """
        self._seen = self.path.read_bytes()  # ours: as above
        spec = spec_from_file_location(self.module, self.path)
        assert spec is not None
        module: Any = module_from_spec(spec)
        forget_steps(self.module)
        sys.modules[self.module] = module
        exec(compile(self._seen, self.path, "exec", dont_inherit=True), vars(module))  # noqa: S102  # whoever named it wants it run
        return self._plugin_in(vars(module).values())

    def has_changed(self) -> bool:
        """Whether there is something else in it than when it was looked at last. Blocks.

        A file that is not there has not changed: some editors put it aside for a moment when they write it.
        """
        try:
            text = self.path.read_bytes()  # ours: as above
        except OSError:
            return False
        text, self._seen = self._seen, text
        return text != self._seen

    def _plugin_in(self, values: Collection[object]) -> type[Plugin]:
        kinds = [kind for kind in values if isinstance(kind, type) and kind.__module__ == self.module]
        own = [kind for kind in dict.fromkeys(kinds) if issubclass(kind, Plugin)]
        boards = [kind for kind in kinds if issubclass(kind, Board)]
        if boards and not own:
            raise Invalid(
                f"{self.path.name} has no plugin but a board, {boards[0].__name__}; a board is tried by installing it "
                "(uv pip install --editable .): its distribution names it in the entry-point group rooftree.boards; "
                "rooftree new-plugin NAME --board writes one"
            )
        if len(own) != 1:
            names = ", ".join(kind.__name__ for kind in own) or "none"
            raise Invalid(f"{self.path.name} must have one subclass of rooftree.Plugin; it has {names}")
        called = getattr(own[0], "name", None)
        if called != self.name:
            raise Invalid(f"{own[0].__name__}.name must be {self.name!r}, as its file is called, not {called!r}")
        return own[0]


class _FilePoint(EntryPoint):
    """The entry point of a file, which no distribution has."""

    def __init__(self, file: PluginFile) -> None:
        super().__init__(file.name, file.module, GROUP)
        vars(self).update(file=file)

    def load(self) -> type[Plugin]:
        """See :meth:`PluginFile.load`."""
        file: PluginFile = vars(self)["file"]
        return file.load()


def watched(files: Collection[PluginFile], plugins: Plugins) -> Task:
    """The task that loads anew what has changed; a plugin that is not to run is left."""

    async def look() -> None:
        for file in files:
            if await asyncio.to_thread(file.has_changed):
                try:
                    await plugins.restart(file.name)
                except RooftreeError as error:
                    log.warning("plugin_file_not_loaded", file=str(file.path), reason=error.message)
                else:
                    info = plugins.info(file.name)
                    log.info("plugin_file_loaded", file=str(file.path), state=info.state, reason=info.reason)

    return Task("look at plugin files", look, every=LOOK_EVERY)


def plugin_files(paths: Collection[Path], settings: Settings) -> list[PluginFile]:
    """The files at these paths. Raises :class:`~rooftree.errors.Invalid` for one that can be no plugin's, or whose
    plugin the operator's settings disable, and for two with one plugin. Blocks."""
    files: dict[str, PluginFile] = {}
    for path in paths:
        file = PluginFile.at(path)
        other = files.setdefault(file.name, file)
        if other is not file:
            raise Invalid(f"{path}: {other.path} is the plugin {file.name} already")
        if file.name in settings.disabled:
            origin = settings.origin("plugins.disabled")
            raise Invalid(f"{path}: the plugin {file.name} is disabled by {origin}; change that")
    return list(files.values())


def _is_one(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()  # ours: to compare them
