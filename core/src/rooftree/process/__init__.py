"""The process: the system put together, the latest lines of its log, and what watches over its event loop."""

from rooftree.process.loop_watchdog import LOOP_WATCHDOG, LoopBlocked
from rooftree.process.recent_logs import RecentLine, RecentLogs, set_level
from rooftree.process.service_manager import notify
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
    "notify",
    "set_level",
]
