"""The numbers of the README, as ratios measured in one run: ``make bench`` or ``run.py --rows ping,store``.

The server has one core and the load the other. The two sides of a comparison take turns every tenth of a second, so
that what else the machine does hits both; what counts is the median of the rounds' ratios, after a round for nothing.
The two give the same bytes, which is checked. Raw figures go to ``benchmarks/results/``. The exit status is 1 when a
gate is missed. Rows that need what is not here (a container engine, a registry) are left out with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import processes
from addon_repositories import origin
from attrs import asdict
from rich.console import Console
from rich.table import Table
from rows import QUICK, THOROUGH, Bench, Measure, Row, Skipped

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BUSY_BELOW = 0.9
"""A server that got less of its core than this, while it was asked without a pause, shared it with somebody."""

ROWS: Mapping[str, str] = {
    "ping": "answers:ping",
    "store": "answers:store",
    "addons": "answers:addons",
    "start": "daemon:start",
    "hung-engine": "daemon:hung_engine",
    "no-bus": "daemon:without_bus",
    "configs": "daemon:configs",
    "memory": "daemon:memory",
    "install": "containers:install",
    "addon-start": "containers:addon_start",
    "stats": "containers:stats",
    "log-engine": "log_follow:from_engine",
    "log-journal": "log_follow:from_journal",
    "host-info": "host_info:host_info",
    "network-info": "network_info:network_info",
    "network-change": "network_change:network_change",
    "hung-mount": "hung_mount:hung_mount",
    "ingress": "ingress:pages",
    "ingress-websocket": "ingress:round_trips",
    "ingress-sockets": "ingress:open_sockets",
    "ingress-huge": "ingress:huge_bodies",
    "archive": "archives:create",
    "archive-restore": "archives:restore",
    "backup-api": "backups:api_meanwhile",
    "vault": "vault:unchanged",
}
"""Where each is measured: a :data:`Measure`."""


def measured(name: str) -> Measure:
    """What measures the row."""
    found: Measure = pkgutil.resolve_name(ROWS[name])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which, separated by commas: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a smoke run: short rounds, whose figures mean little")
    options = parser.parse_args()
    chosen = options.rows.split(",")
    if unknown := [name for name in chosen if name not in ROWS]:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    sys.path.append(str(HERE.parent))  # the rows with containers use the rig of the end-to-end tests
    console = Console(stderr=True)
    processes.stay_off_the_server_core()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each start would be measured with the compiler's work
    before, began = os.getloadavg(), datetime.now(UTC)
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="rooftree-bench-") as folder:
        bench = Bench(Path(folder), QUICK if options.quick else THOROUGH)
        for name in chosen:
            try:
                with console.status(f"measuring {name} …"):
                    rows.extend(measured(name)(bench))
            except Skipped as reason:
                skipped[name] = str(reason)
    facts = {
        "began": began.isoformat(),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(processes.CORES),
        "quick": options.quick,
        "addons": origin(),
        "load_before": before,
        "load_after": os.getloadavg(),
        "skipped": skipped,
    }
    _show(rows, facts)
    _keep(rows, facts)
    return 0 if all(row.ok for row in rows) else 1


def _show(rows: Sequence[Row], facts: dict[str, Any]) -> None:
    table = Table("what", "result", "gate", "spread", "against", "ok")
    for row in rows:
        table.add_row(*row.cells())
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(
        f"Add-ons: {facts['addons']}. Python {facts['python']}, {facts['cores']} cores, "
        f"load before {facts['load_before'][0]:.1f}"
        + ("; a quick run, whose figures mean little" if facts["quick"] else "")
    )
    for name, reason in facts["skipped"].items():
        console.print(f"Left out: {name}, which needs {reason}")
    sides = [side for row in rows if isinstance(row.raw, dict) for each in row.raw["rounds"] for side in each.values()]
    shares = [side["share_of_core"] for side in sides]
    if shares and min(shares) < BUSY_BELOW:
        console.print(f"Others used the servers' core too: of it, they got {min(shares):.0%} to {max(shares):.0%}.")


def _keep(rows: Sequence[Row], facts: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    shown = [{**asdict(row, recurse=False), "result": row.result, "ok": row.ok} for row in rows]
    name = f"{facts['began'].replace(':', '').partition('.')[0]}.json"
    (RESULTS / name).write_text(json.dumps({**facts, "rows": shown}, indent=1) + "\n")


def _commit() -> str | None:
    """Where the checkout stands, with ``-dirty`` behind it when files differ."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    sys.exit(main())
