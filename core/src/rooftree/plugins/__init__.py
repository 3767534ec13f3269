"""Plugins: what authors derive from, what they see of the kernel, how each lives, and all of them."""

from rooftree.plugins.contributions import merged, understood
from rooftree.plugins.drivers import Driver, DriverInfo
from rooftree.plugins.hooks import Hooks, hookimpl, hookspec
from rooftree.plugins.kernel import InstallationFolder, Kernel
from rooftree.plugins.life import Health, PluginHealthChanged, PluginInfo, PluginLife
from rooftree.plugins.loading import GROUP, Installed, PluginName
from rooftree.plugins.metrics import METRICS, Counter, Family, Gauge, Metrics, PluginMetrics
from rooftree.plugins.parts import KernelParts
from rooftree.plugins.plugin import Plugin
from rooftree.plugins.plugin_tasks import PluginTasks
from rooftree.plugins.plugins import PLUGINS, Plugins
from rooftree.plugins.remains import LeftBehind

__all__ = [
    "GROUP",
    "METRICS",
    "PLUGINS",
    "Counter",
    "Driver",
    "DriverInfo",
    "Family",
    "Gauge",
    "Health",
    "Hooks",
    "InstallationFolder",
    "Installed",
    "Kernel",
    "KernelParts",
    "LeftBehind",
    "Metrics",
    "Plugin",
    "PluginHealthChanged",
    "PluginInfo",
    "PluginLife",
    "PluginMetrics",
    "PluginName",
    "PluginTasks",
    "Plugins",
    "hookimpl",
    "hookspec",
    "merged",
    "understood",
]
