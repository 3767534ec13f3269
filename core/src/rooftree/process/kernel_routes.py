"""The routes that the kernel answers itself, whatever plugins run: that it lives, its plugins, what is wrong."""

from __future__ import annotations

from attrs import frozen

from rooftree.access import PUBLIC, role
from rooftree.events import Problem, Problems
from rooftree.http import Routes
from rooftree.plugins import LeftBehind, PluginInfo, PluginName, Plugins
from rooftree.principal import Role

routes = Routes()

ADMIN = role(Role.ADMIN)
MANAGER = role(Role.MANAGER)


@frozen
class PluginList:
    """The answer of ``/kernel/v1/plugins``."""

    plugins: list[PluginInfo]
    left_behind: list[LeftBehind]
    """What there is of plugins that are no longer installed."""


@frozen
class ProblemList:
    """The answer of ``/kernel/v1/problems``."""

    problems: list[Problem]


@routes.get("/kernel/v1/ping", access=PUBLIC)
def ping() -> None:
    """Tell that we live."""


@routes.get("/kernel/v1/problems", access=MANAGER)
def problems(problems: Problems) -> ProblemList:
    """What is wrong, and still wrong."""
    return ProblemList(list(problems))


@routes.get("/kernel/v1/plugins", access=MANAGER)
async def plugins(plugins: Plugins) -> PluginList:
    """The plugins that are installed, how they are, and what others have left behind."""
    return PluginList(list(plugins), await plugins.left_behind())


@routes.post("/kernel/v1/plugins/{plugin}/enable", access=ADMIN)
async def enable_plugin(plugins: Plugins, plugin: PluginName) -> PluginInfo:
    """Let a plugin run, from now on and after a restart too."""
    await plugins.enable(plugin)
    return plugins.info(plugin)


@routes.post("/kernel/v1/plugins/{plugin}/disable", access=ADMIN)
async def disable_plugin(plugins: Plugins, plugin: PluginName) -> PluginInfo:
    """Stop a plugin and those that depend on it; it stays stopped after a restart too."""
    await plugins.disable(plugin)
    return plugins.info(plugin)


@routes.post("/kernel/v1/plugins/{plugin}/restart", access=ADMIN)
async def restart_plugin(plugins: Plugins, plugin: PluginName) -> PluginInfo:
    """Stop a plugin and those that depend on it, and start them again."""
    await plugins.restart(plugin)
    return plugins.info(plugin)


@routes.delete("/kernel/v1/plugins/{plugin}", access=ADMIN)
async def purge_plugin(plugins: Plugins, plugin: PluginName) -> LeftBehind:
    """Remove for good what a plugin left that is no longer installed; answers what that was."""
    return await plugins.purge(plugin)
