"""Hooks: named calls that plugins contribute to, carried by pluggy.

A hook is specified by a small function whose docstring is its contract; the domains' hooks are in
``rooftree.interfaces.hooks``, and a plugin names those of its own in ``Plugin.hooks``. A plugin implements one by
defining a method of that name, marked ``@hookimpl``; a name that no specification has is an error when the plugin
starts, unless the mark is ``@hookimpl(optionalhook=True)``. Whoever needs the answers asks with the specification
itself, ``await kernel.call(available_updates)``, and gets typed answers of all plugins that gave one: each
implementation runs on its own with a deadline, and one that fails is recorded against its plugin and left out.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Coroutine, Iterable
from types import ModuleType
from typing import Any, cast, override

import pluggy
import structlog

from rooftree.context import is_cancelled, plugin_under_way
from rooftree.errors import RooftreeError, is_interruption
from rooftree.model import did_you_mean

log = structlog.get_logger(__name__)

PROJECT = "rooftree"
DEADLINE_S = 10.0
"""Seconds one plugin's implementation of a hook may take."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookNameUnknown(TypeError):
    """A plugin implements a hook that nobody specifies, or a parameter of one."""


class _Manager(pluggy.PluginManager):
    """Pluggy's, which looks for marks where they may be: at the methods of a plugin's class."""

    @override
    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        return getattr(getattr(type(plugin), name, None), f"{PROJECT}_impl", None)


class Hooks:
    """The hook registry: pluggy's registration, our own guarded calling.

    :param specifications: modules with functions marked ``@hookspec``
    :param on_failure: told (plugin, hook, error) of each implementation that failed, and (plugin, hook, ``None``) when
        it answers again. What it lacks just now (a :class:`RooftreeError`: an engine that is away) is no failure.
    """

    def __init__(
        self, specifications: Iterable[ModuleType], on_failure: Callable[[str, str, BaseException | None], None]
    ) -> None:
        self._manager = _Manager(PROJECT)
        for module in specifications:
            self._manager.add_hookspecs(module)
        self._rooftrees = frozenset(vars(self._manager.hook))
        self._specified: dict[str, str] = {}
        """The hooks of plugins, with the plugin that specifies each."""
        self._on_failure = on_failure
        self._failing: set[tuple[str, str]] = set()
        self._trace = os.environ.get("ROOFTREE_TRACE_HOOKS") == "1"

    def specify(self, specifications: Iterable[Callable[..., Any]], owner: str) -> None:
        """Take in the hooks that a plugin specifies; those of an earlier start of it are replaced.

        Raises ``ValueError`` for one that somebody else specifies, ``TypeError`` for what is not marked ``@hookspec``.
        """
        for specification in specifications:
            name = getattr(specification, "__name__", repr(specification))
            if not hasattr(specification, f"{PROJECT}_spec"):
                raise TypeError(f"hooks: {name} is no hook: mark the function @hookspec")
            other = "Rooftree" if name in self._rooftrees else self._specified.get(name, owner)
            if other != owner:
                raise ValueError(f"hooks: {name} is a hook of {other} already; give yours another name")
            if name in self._specified:
                getattr(self._manager.hook, name).spec = None
            self._specified[name] = owner
            home = ModuleType(owner)
            setattr(home, name, specification)
            self._manager.add_hookspecs(home)

    def register(self, plugin: object, name: str) -> None:
        """Take a plugin's implementations in; raises ``pluggy.PluginValidationError`` for one with other parameters
        than its specification."""
        try:
            self._manager.register(plugin, name)
        except pluggy.PluginValidationError:
            self._manager.unregister(name=name)
            raise

    def refuse_misspelt(self, kind: type) -> None:
        """Raise :class:`HookNameUnknown` for a class that implements a hook that nobody specifies, and for one with a
        method that is called like a hook and is not marked as one."""
        specified = self._rooftrees | self._specified.keys()
        for name in dir(kind):
            mark = getattr(getattr(kind, name, None), f"{PROJECT}_impl", None)
            if mark and name not in specified and not mark["optionalhook"]:
                meant = did_you_mean(name, specified, "the hooks are in docs/hooks.md")
                raise HookNameUnknown(f"{kind.__name__}.{name} implements a hook that nobody specifies; {meant}")
            if mark and name in specified:
                self._refuse_other_parameters(kind, name)
            if name in self._rooftrees and not mark:
                raise HookNameUnknown(f"{kind.__name__}.{name} is called like a hook: mark it @hookimpl, or rename it")

    def _refuse_other_parameters(self, kind: type, name: str) -> None:
        taken = list(inspect.signature(getattr(kind, name)).parameters)[1:]
        allowed = getattr(self._manager.hook, name).spec.argnames
        for parameter in taken:
            if parameter not in allowed:
                meant = did_you_mean(parameter, allowed, f"it has {', '.join(allowed) or 'none'}")
                raise HookNameUnknown(f"{kind.__name__}.{name}: the hook has no parameter {parameter}; {meant}")

    def unregister(self, name: str) -> None:
        """Take a plugin's implementations out, and with them what was wrong; nothing to do when it has none."""
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        for plugin, hook in [failing for failing in self._failing if failing[0] == name]:
            self._failing.discard((plugin, hook))
            self._on_failure(plugin, hook, None)

    async def call[**P, R](
        self, specification: Callable[P, R | Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> list[R]:
        """Call every implementation, side by side; their answers in the order of the plugins' names, ``None`` left
        out."""
        name = getattr(specification, "__name__", "")
        bound = inspect.signature(specification).bind(*args, **kwargs).arguments
        implementations = getattr(self._manager.hook, name).get_hookimpls()
        in_order = sorted(implementations, key=lambda implementation: implementation.plugin_name)
        answers = await asyncio.gather(*(self._guarded(name, implementation, bound) for implementation in in_order))
        return cast("list[R]", [answer for answer in answers if answer is not None])

    async def _guarded(self, name: str, implementation: pluggy.HookImpl, bound: dict[str, Any]) -> Any:
        plugin = implementation.plugin_name
        plugin_under_way.set(plugin)  # in a task of its own, as gather makes one for each
        arguments = [bound[argument] for argument in implementation.argnames]
        try:
            async with asyncio.timeout(DEADLINE_S) as limit:
                answer: Any = implementation.function(*arguments)
                if inspect.isawaitable(answer):
                    answer = await answer
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if is_cancelled():
                raise
            if isinstance(error, RooftreeError) or is_interruption(error):
                log.info("hook_without_answer", hook=name, plugin=plugin, reason=str(error))
                return None
            self._failing.add((plugin, name))
            if limit.expired():  # where it waited tells nothing: what it waited for does
                log.warning("hook_failed", hook=name, plugin=plugin, reason=f"it took more than {DEADLINE_S:g} s")
                self._on_failure(plugin, name, TimeoutError(f"it took more than {DEADLINE_S:g} s"))
            else:
                log.exception("hook_failed", hook=name, plugin=plugin)
                self._on_failure(plugin, name, error)
            return None
        if (plugin, name) in self._failing:
            self._failing.discard((plugin, name))
            self._on_failure(plugin, name, None)
        if self._trace:
            log.info("hook", hook=name, plugin=plugin, arguments=bound, answer=answer)
        return answer
