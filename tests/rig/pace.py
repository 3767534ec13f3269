"""How slow this machine is now, beside the one that the tests' limits of time were set on.

The same machine takes two to three times as long on some days as on others, and shares its cores with whatever else
runs on them. A limit that is to tell work that grows with the square of what it is given from work that grows with it
follows that; a gate of ``performance.md`` is a ratio and has no need to (``make bench``).
"""

from __future__ import annotations

import re
import time

REFERENCE_S = 0.0035
"""Seconds of a processor that :func:`_work` is reckoned to take on a quick day: half of what it took on 1 December 2026
beside a whole run, which took twice the processor's time of the day before."""

SLOWEST = 4.0
"""No machine is forgiven more than this: what takes forever is found on each of them."""


def on_this_machine(limit_s: float) -> float:
    """What a limit in seconds comes to on this machine, now: the same, or more where it is slower."""
    return limit_s * min(SLOWEST, max(1.0, min(_work() for _ in range(3)) / REFERENCE_S))


def _work() -> float:
    """Seconds of a processor that a little of everything takes: objects, tables, text, a regular expression."""
    began = time.thread_time()
    table = {f"key {number}": (number, str(number)) for number in range(5_000)}
    text = "\n".join(sorted(table))
    for _ in re.finditer(r"^key (\d+)$", text, re.MULTILINE):
        pass
    total = 0
    for number, _ in table.values():
        total += number
    return time.thread_time() - began
