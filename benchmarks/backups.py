"""How long the API takes to answer while a backup is made and put back. All have all cores, because archives use
more than one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from archives import MIXED, fill
from meanwhile import asked_meanwhile, p99_ms
from processes import all_cores, give_all_cores
from rows import QUICK, Bench, Row
from servers import Installation, post

PASSWORD = "correct horse battery staple"
P99_MS = 5.0


def api_meanwhile(bench: Bench) -> Iterator[Row]:
    """257 MB, plain and encrypted."""
    folder = bench.folder / "backups"
    folder.mkdir()
    installation = Installation(folder)
    fill(installation.data_dir / "share", MIXED[-100:] if bench.pace is QUICK else MIXED, text_only=False)
    forms: dict[str, dict[str, Any]] = {"plain": {"compressed": False}, "encrypted": {"password": PASSWORD}}
    figures: dict[str, list[float]] = {}
    with installation.running() as (daemon, token):
        with all_cores():
            give_all_cores(daemon.pid)
        with asked_meanwhile(daemon.port, token) as idle:
            time.sleep(bench.pace.seconds)
        for counts in bench.rounds():
            for form, options in forms.items():
                with asked_meanwhile(daemon.port, token) as making:
                    made = post(daemon, token, "/backups/new/partial", {"name": form, "folders": ["share"], **options})
                wanted = {"folders": ["share"], "password": options.get("password")}
                with asked_meanwhile(daemon.port, token) as restoring:
                    post(daemon, token, f"/backups/{made['slug']}/restore/partial", wanted)
                if counts:
                    figures.setdefault(f"made, {form}", []).append(p99_ms(making))
                    figures.setdefault(f"put back, {form}", []).append(p99_ms(restoring))
    against = f"{p99_ms(idle):.1f} ms where nothing is done"
    for what, p99s in figures.items():
        yield Row(f"API p99 while a backup of 257 MB is {what}", p99s, " ms", P99_MS, False, against, p99s)
