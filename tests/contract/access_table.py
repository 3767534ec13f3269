"""Every route and every caller: asked at the door of a running system, and written down.

``make access-table`` writes what was found to ``tests/contract/access-matrix.tsv``, the reviewed verdicts in the
columns of the reference, and into ``docs/access.md``, for people. ``test_access_matrix.py`` fails while either is not
true.
"""

from __future__ import annotations

import asyncio
import csv
import io
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from attrs import frozen

from rooftree.daemon import configure
from rooftree.http.table import Entry
from rooftree.process.system import System
from tests.contract.access_differences import DIFFERENCES
from tests.contract.door import ANOTHER, EVERYBODY, Knock, Wire, house_with_closed_rooms, paths_of, tokens_of_callers

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("access-matrix.tsv")
PAGE = ROOT / "docs" / "access.md"
BEGIN, END = "<!-- begin: make access-table -->\n", "<!-- end -->\n"

type Row = tuple[str, str]
"""Method and path."""
type Verdicts = Mapping[Row, Mapping[str, str]]
"""For each row, by caller: ``ok``, ``open`` (no token is asked for), or the status of the refusal."""


@frozen
class Asked:
    """A row of the table."""

    method: str
    path: str
    owner: str
    access: str
    verdicts: Mapping[str, str]

    @property
    def row(self) -> Row:
        """What it is known by."""
        return self.method, self.path


# --- asking -----------------------------------------------------------------------------------------------------------


async def ask(system: System) -> list[Asked]:
    """Knock at every route as everybody; a handler is reached or the refusal is noted."""
    tokens = await tokens_of_callers(system)
    wire = Wire(system.port)
    found = []
    for number, (entry, path) in enumerate(_rows(system.server.table.entries)):
        method = entry.route.method
        target = filled(path)
        elsewhere = Wire(system.port, address=f"127.1.{number // 250}.{number % 250 + 1}")
        knocks = {
            caller: await (elsewhere if caller == "unknown" else wire).knock(method, target, tokens.get(caller))
            for caller in EVERYBODY
        }
        elsewhere.close()
        found.append(Asked(method, path, entry.owner, str(entry.route.access), _verdicts(knocks)))
    wire.close()
    return found


def _rows(entries: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
    """Every path; those of one add-on for another's and for the caller's own, as in the reference."""
    for entry, path in paths_of(entries):
        yield entry, path
        if path.startswith("/addons/{addon}/"):
            yield entry, path.replace("{addon}", "self", 1)


def filled(path: str, addon: str = ANOTHER) -> bytes:
    """A path that is asked for where this one is declared."""
    return re.sub(r"\{\w+(\.\.\.)?\}", "x", path.replace("{addon}", addon)).encode()


def _verdicts(knocks: Mapping[str, Knock]) -> dict[str, str]:
    word = "open" if _in(knocks["anonymous"]) else "ok"
    return {caller: word if _in(knock) else str(knock.status) for caller, knock in knocks.items()}


def _in(knock: Knock) -> bool:
    """Whether the door was passed; a plugin that cannot run here says so behind it."""
    return knock.reached is not None or knock.status == 503


# --- the golden file --------------------------------------------------------------------------------------------------


def read(path: Path) -> Verdicts:
    """A matrix from its file."""
    with path.open(newline="") as file:
        return {
            (row["method"], row["path"]): {caller: row[caller] for caller in EVERYBODY}
            for row in csv.DictReader(file, delimiter="\t")
        }


def as_tsv(asked: Iterable[Asked]) -> str:
    """A matrix as its file."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerow(["method", "path", *EVERYBODY])
    writer.writerows([*one.row, *(one.verdicts[caller] for caller in EVERYBODY)] for one in asked)
    return file.getvalue()


# --- the page ---------------------------------------------------------------------------------------------------------

_HEADINGS = ("none", "wrong", "no API", *EVERYBODY[3:])


def as_page(asked: Iterable[Asked], page: str) -> str:
    """``page`` with its tables as they should be."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name}: the lines {BEGIN.strip()} and {END.strip()} are missing")
    return "".join((before, BEGIN, *_differences(), *_tables(asked), END, after))


def _differences() -> Iterator[str]:
    yield "## Where this differs from the reference, and why\n\n"
    yield "| route | callers | reference | here | why |\n|---|---|---|---|---|\n"
    for one in DIFFERENCES:
        yield f"| `{one.route}` | {', '.join(one.callers)} | {one.reference} | {one.here} | {one.why} |\n"


def _tables(asked: Iterable[Asked]) -> Iterator[str]:
    for owner, rows in groupby(sorted(asked, key=lambda one: one.owner), key=lambda one: one.owner):
        yield f"\n## {owner}\n\n"
        yield f"| route | declared | {' | '.join(_HEADINGS)} |\n|---|---|{'---|' * len(_HEADINGS)}\n"
        for one in rows:
            cells = " | ".join(_SIGNS.get(one.verdicts[caller], one.verdicts[caller]) for caller in EVERYBODY)
            yield f"| `{one.method} {one.path}` | {one.access} | {cells} |\n"


_SIGNS = {"ok": "●", "open": "○"}


# --- make access-table ------------------------------------------------------------------------------------------------


async def _main() -> None:
    configure("error", "text")
    logging.disable(logging.WARNING)  # what is refused here is logged as it should be, and is no news
    with tempfile.TemporaryDirectory() as folder:
        async with house_with_closed_rooms(Path(folder)) as system:
            asked = await ask(system)
    GOLDEN.write_text(as_tsv(asked))
    PAGE.write_text(as_page(asked, PAGE.read_text()))
    print(f"{len(asked)} rows: review `git diff {GOLDEN.relative_to(ROOT)} {PAGE.relative_to(ROOT)}`")


if __name__ == "__main__":
    asyncio.run(_main())
