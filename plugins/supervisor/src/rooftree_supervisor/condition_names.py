"""The names of conditions of jobs that clients of this API know."""

CONDITION_NAMES = (
    "architecture_supported",
    "auto_update",
    "free_space",
    "frozen",
    "haos",
    "healthy",
    "home_assistant_core_supported",
    "host_network",
    "internet_host",
    "internet_system",
    "mount_available",
    "os_agent",
    "os_supported",
    "plugins_updated",
    "running",
    "supervisor_updated",
)
"""Whoever owns what they speak of registers the check; they can be ignored also where nobody does."""
