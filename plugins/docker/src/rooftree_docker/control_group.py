"""The processor time of a container, read where the kernel of this machine counts it.

An engine answers with a reading a second after it was asked for one (Docker up to 24 does), so a share of the processor
from two of its readings takes more than two. Where the engine is on this machine and its processes are seen from here,
the counters are there to be read at once; elsewhere there is none to be read, and nothing is lost.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_FIELDS_OF_THE_MACHINE: Final = 8
"""user, nice, system, idle, iowait, irq, softirq, steal; the two after them are parts of the first (proc(5))."""


def processor_time(container_id: str, pid: int, root: Path = _ROOT) -> tuple[int, int] | None:
    """Nanoseconds used so far by the container, and by all processors of the machine, idle ones too. Blocks.

    ``None`` where that is not seen from here: the engine is on another machine, or in another namespace of processes,
    where ``pid`` is somebody else's, whose control group does not bear the container's id.

    :param pid: of the container's first process, as the engine knows it
    """
    try:
        used = _container_ns(container_id, pid, root)
        fields = (
            (root / "proc/stat").read_text().split("\n", 1)[0].split()[1 : _FIELDS_OF_THE_MACHINE + 1]
        )  # ours: the kernel's
        return None if used is None else (used, sum(map(int, fields)) * _TICK_NS)
    except (OSError, ValueError):
        return None


def _container_ns(container_id: str, pid: int, root: Path) -> int | None:
    groups = root / "sys/fs/cgroup"
    for line in (root / f"proc/{pid}/cgroup").read_text().splitlines():  # ours: the kernel's
        _, controllers, path = line.split(":", 2)
        if container_id not in path:
            continue
        if "cpuacct" in controllers.split(","):  # version 1
            return int((groups / f"cpuacct{path}/cpuacct.usage").read_text())  # ours: the kernel's
        statistics = groups / f"{path.lstrip('/')}/cpu.stat"
        if not controllers and statistics.is_file():  # version 2  # ours: the kernel's
            usage = dict(pair.split() for pair in statistics.read_text().splitlines())  # ours: the kernel's
            return int(usage["usage_usec"]) * 1000
    return None
