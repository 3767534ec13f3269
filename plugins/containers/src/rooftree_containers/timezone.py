"""The host's time zone, for the containers' TZ."""

from __future__ import annotations

from pathlib import Path

_ZONEINFO = "zoneinfo/"


def host_timezone() -> str:
    """The IANA name of the host's zone (localtime(5), else /etc/timezone), or ``Etc/UTC``. Blocks for a moment."""
    try:
        target = str(Path("/etc/localtime").readlink())  # ours: the host's
        if _ZONEINFO in target:
            return target.partition(_ZONEINFO)[2]
    except OSError:
        pass
    try:
        return Path("/etc/timezone").read_text().strip() or "Etc/UTC"  # ours: the host's
    except OSError:
        return "Etc/UTC"
