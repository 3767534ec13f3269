"""The process: the system put together, the daemon, its log, and what watches over its event loop."""

from rooftree.process.daemon import run
from rooftree.process.logs import RecentLine, RecentLogs, configure, set_level
from rooftree.process.loop_watchdog import LOOP_WATCHDOG, LoopBlocked
from rooftree.process.system import RECENT_LOGS, SETTINGS, SYSTEM, System, SystemState, SystemStateChanged

__all__ = [
    "LOOP_WATCHDOG",
    "RECENT_LOGS",
    "SETTINGS",
    "SYSTEM",
    "LoopBlocked",
    "RecentLine",
    "RecentLogs",
    "System",
    "SystemState",
    "SystemStateChanged",
    "configure",
    "run",
    "set_level",
]
