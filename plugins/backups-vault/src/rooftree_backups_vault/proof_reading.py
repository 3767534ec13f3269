"""Looking at what was restored, as a program of its own: ``python -m rooftree_backups_vault.proof_reading DATA RESTORED
TREE…``, with the trees relative to both folders. Prints what it found as JSON.

Everything is opened without following links. A restored file whose size and time are those of the one that is there now
is compared with it; SQLite databases are checked, JSON and YAML are parsed.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import orjson
import yaml
from attrs import define, field

from rooftree_files import Folder, PathRefused

SQLITE: Final = b"SQLite format 3\0"
MOST_PARSED_BYTES: Final = 32 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@define
class Report:
    """What was found."""

    compared_files: int = 0
    compared_bytes: int = 0
    opened_files: int = 0
    findings: list[str] = field(factory=list)


def look(data: Path, restored: Path, trees: list[str]) -> Report:
    """Look at all that was restored."""
    report = Report()
    with Folder.open(data) as live:
        for path in _files(restored):
            below = path.relative_to(restored)
            is_of_a_tree = any(below.is_relative_to(tree) for tree in trees)
            _look_at(path, live, str(below) if is_of_a_tree else None, report)
    return report


def _files(folder: Path) -> Iterator[Path]:
    for above, _, names in os.walk(folder):  # ours: a scratch place
        for name in names:
            path = Path(above, name)
            if stat.S_ISREG(_status(path).st_mode):
                yield path


def _status(path: Path) -> os.stat_result:
    return path.lstat()  # ours: a scratch place


def _look_at(path: Path, live: Folder, place: str | None, report: Report) -> None:
    is_as_live = False
    if place is not None and _could_be_same(path, live, place):
        difference = _differs(path, live, place)
        if difference is None:
            report.compared_files += 1
            report.compared_bytes += _status(path).st_size
            is_as_live = True
        elif _could_be_same(path, live, place):  # it was not changed while it was read
            report.findings.append(f"{_shown(path)} differs from what is there now at byte {difference}")
            return
    finding = _opened(path, report)
    if finding is not None and not is_as_live:
        report.findings.append(f"{_shown(path)}: {finding}")


def _could_be_same(path: Path, live: Folder, place: str) -> bool:
    try:
        there = live.status(place)
    except PathRefused:
        return False
    here = _status(path)
    return (
        there is not None
        and stat.S_ISREG(there.st_mode)
        and (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
    )


def _differs(path: Path, live: Folder, place: str) -> int | None:
    """The first byte that differs; ``None`` where none does. A file that is gone by now differs at its beginning."""
    try:
        descriptor = live.open_file(place)
    except (FileNotFoundError, PathRefused):
        return 0
    with _open(path) as restored, os.fdopen(descriptor, "rb") as original:
        position = 0
        while True:
            block, other = restored.read(_BLOCK_BYTES), original.read(_BLOCK_BYTES)
            if block != other:
                pairs = enumerate(zip(block, other, strict=False))
                return position + next((at for at, pair in pairs if pair[0] != pair[1]), min(len(block), len(other)))
            if not block:
                return None
            position += len(block)


def _open(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, _READ), "rb")  # ours: a scratch place


def _opened(path: Path, report: Report) -> str | None:
    """What is wrong with a database, or with JSON or YAML."""
    with _open(path) as file:
        beginning = file.read(len(SQLITE))
    if beginning == SQLITE:
        report.opened_files += 1
        return _checked(path)
    is_json, is_yaml = path.suffix == ".json" or ".storage" in path.parts, path.suffix in {".yaml", ".yml"}
    if not (is_json or is_yaml) or not 0 < _status(path).st_size <= MOST_PARSED_BYTES:
        return None
    if is_json and path.suffix != ".json" and beginning[:1] not in {b"{", b"["}:
        return None
    report.opened_files += 1
    with _open(path) as file:
        content = file.read()
    return _parsed_json(content) if is_json else _parsed_yaml(content)


def _checked(path: Path) -> str | None:
    """What SQLite finds; the copy is ours, so its log may be taken in."""
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)
        try:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return f"the database can't be opened: {error}"
    return None if answer == "ok" else f"the database is damaged: {answer}"


def _parsed_json(content: bytes) -> str | None:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return f"no JSON: {error}"
    return None


def _parsed_yaml(content: bytes) -> str | None:
    """Its syntax alone: what Home Assistant's own tags mean is not looked at."""
    try:
        for _ in yaml.parse(content, Loader=yaml.CSafeLoader):
            pass
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return f"no YAML: {' '.join(str(error).split())}"
    return None


def _shown(path: Path) -> str:
    return ascii(str(path.name))[1:-1]


def main() -> None:
    """Look, and print what was found."""
    data, restored, *trees = sys.argv[1:]
    report = look(Path(data), Path(restored), trees)
    sys.stdout.buffer.write(
        orjson.dumps(
            {
                "compared_files": report.compared_files,
                "compared_bytes": report.compared_bytes,
                "opened_files": report.opened_files,
                "findings": report.findings,
            }
        )
    )


if __name__ == "__main__":
    main()
