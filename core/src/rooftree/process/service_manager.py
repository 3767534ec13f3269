"""Talking to the service manager: sd_notify(3) is one datagram to the socket that systemd names, if it does."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(message: str) -> None:
    """Tell the service manager ``READY=1``, ``STOPPING=1``, ``WATCHDOG=1`` …; without one nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        line.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        line.send(message.encode())


def watchdog_period_s() -> float | None:
    """How often it wants to hear ``WATCHDOG=1`` at least, in seconds; ``None`` where it doesn't
    (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    period_us = os.environ.get("WATCHDOG_USEC", "")
    return int(period_us) / 1_000_000 if period_us.isdecimal() and int(period_us) else None
