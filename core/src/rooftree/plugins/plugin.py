"""What a plugin is: the class that authors derive from.

A plugin lives through *construct → setup → run → stop*. Constructing has no side effects. ``setup`` gets what the
plugin needs from the kernel and provides its services; it may look and wait, within the start deadline. From then on
its routes answer, its tasks run and its hooks are called. What it has taken through its :class:`Kernel` (listeners,
subscriptions, services, whatever :meth:`~rooftree.plugins.kernel.Kernel.defer` was told) is given back by the kernel,
in the reverse order, when it stops or its ``setup`` fails; so ``stop`` is rarely written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from rooftree.events import Task
from rooftree.http import Routes
from rooftree.plugins.kernel import Kernel
from rooftree.services import Service


class Plugin:
    """Base of every plugin. Override what you need; the defaults do nothing.

    The distribution names the class in the entry-point group ``rooftree.plugins`` under the plugin's name, and says in
    its requirement on ``rooftree`` which version of this interface it was written for.
    """

    name: ClassVar[str]
    """The domain, in lower case; the same as the entry point's name."""
    provides: ClassVar[tuple[Service[Any], ...]] = ()
    """Services that ``setup`` will provide."""
    requires: ClassVar[tuple[Service[Any], ...]] = ()
    """Services that must be there: this plugin starts after whoever provides them, and stops before."""
    optional: ClassVar[tuple[Service[Any], ...]] = ()
    """Services that are used when they are there; ask with ``kernel.find`` at each use."""
    hooks: ClassVar[tuple[Callable[..., Any], ...]] = ()
    """Hooks of its own, which any plugin may answer: functions marked ``@hookspec``. Ask with ``kernel.call``."""
    settings: ClassVar[type | None] = None
    """A frozen attrs class with defaults for the plugin's table in ``rooftree.toml``, ``[plugins.<name>]``."""

    async def setup(self, kernel: Kernel) -> None:
        """Get ready. An exception here marks the plugin failed, with its message as the reason."""

    def routes(self) -> Routes:
        """The plugin's routes. Called once, before ``setup``; they answer 503 until ``setup`` is through."""
        return Routes()

    def tasks(self) -> Iterable[Task]:
        """Background and scheduled work, begun after ``setup``."""
        return ()

    async def stop(self) -> None:
        """Give back what ``setup`` took outside the kernel and did not hand to
        :meth:`~rooftree.plugins.kernel.Kernel.defer`. Called after a failed ``setup`` too, once the tasks have ended
        and before what the kernel gave is given back."""
