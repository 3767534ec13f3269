"""The routes that the kernel answers itself, whatever plugins run: that it lives, its plugins, what is wrong."""

from __future__ import annotations

from attrs import frozen

from rooftree.access import PUBLIC, role
from rooftree.events import Problem, Problems
from rooftree.http import Routes
from rooftree.model import ParsedString
from rooftree.plugins import DriverInfo, LeftBehind, PluginInfo, Plugins
from rooftree.principal import Role

routes = Routes()

ADMIN = role(Role.ADMIN)
MANAGER = role(Role.MANAGER)


class SwitchName(ParsedString):
    """The name of a plugin or a driver."""

    __slots__ = ()

    pattern = r"([a-z0-9_]+\.)?[a-z0-9][a-z0-9_-]{0,63}"
    allowed = "the name of a plugin, or of a driver with what it drives, such as boards.acme"


@frozen
class PluginList:
    """The answer of ``/kernel/v1/plugins``."""

    plugins: list[PluginInfo]
    drivers: list[DriverInfo]
    left_behind: list[LeftBehind]
    """What there is of plugins and drivers that are no longer installed."""


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
    """The plugins and drivers that are installed, how they are, and what others have left behind."""
    return PluginList(list(plugins), plugins.drivers(), await plugins.left_behind())


@routes.post("/kernel/v1/plugins/{plugin}/enable", access=ADMIN)
async def enable_plugin(plugins: Plugins, plugin: SwitchName) -> PluginInfo | DriverInfo:
    """Let a plugin run, or a driver be used, from now on and after a restart too."""
    await plugins.enable(plugin)
    return plugins.info(plugin)


@routes.post("/kernel/v1/plugins/{plugin}/disable", access=ADMIN)
async def disable_plugin(plugins: Plugins, plugin: SwitchName) -> PluginInfo | DriverInfo:
    """Stop a plugin and those that depend on it, or use a driver no longer; that stays so after a restart too."""
    await plugins.disable(plugin)
    return plugins.info(plugin)


@routes.post("/kernel/v1/plugins/{plugin}/restart", access=ADMIN)
async def restart_plugin(plugins: Plugins, plugin: SwitchName) -> PluginInfo | DriverInfo:
    """Stop a plugin and those that depend on it, and start them again."""
    await plugins.restart(plugin)
    return plugins.info(plugin)


@routes.delete("/kernel/v1/plugins/{plugin}", access=ADMIN)
async def purge_plugin(plugins: Plugins, plugin: SwitchName) -> LeftBehind:
    """Remove for good what a plugin or driver left that is no longer installed; answers what that was."""
    return await plugins.purge(plugin)
