"""Whether anything can be mounted here at all."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

from rooftree import Kernel
from rooftree.interfaces.bus import SYSTEM_BUS
from rooftree_machine.systemd import SYSTEMD

_CAP_SYS_ADMIN: Final = 1 << 21  # linux/capability.h


async def why_unavailable(kernel: Kernel) -> str | None:
    """Why nothing can be mounted, in a sentence that says what to do; ``None`` where it can."""
    bus = kernel.find(SYSTEM_BUS)
    if bus is not None and bus.has(SYSTEMD.service):
        return None
    return await asyncio.to_thread(_why_not_by_ourselves)


def _why_not_by_ourselves() -> str | None:
    if shutil.which("mount") is None:
        return "there is neither systemd on the system bus nor mount(8) here"
    status = Path("/proc/self/status").read_text()  # ours: the kernel's
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    if not int(effective, 16) & _CAP_SYS_ADMIN:
        return (
            "Rooftree may not mount anything: let it reach the host's system bus (/run/dbus), so that systemd does it, "
            "or run it as root with the capability SYS_ADMIN"
        )
    return None
