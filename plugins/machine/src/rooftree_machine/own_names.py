"""What this host and its system are called as far as anybody can see from here, without asking the system bus."""

from __future__ import annotations

import platform
import socket


def own_hostname() -> str | None:
    """The name that the kernel has for this host, gethostname(2); ``None`` where it has none."""
    name = socket.gethostname()
    return None if name in {"", "(none)"} else name


def own_operating_system() -> str:
    """Such as ``Debian GNU/Linux 12 (bookworm)``, os-release(5). Reads a file: call it in a thread."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, UnicodeDecodeError):
        return platform.system()
