"""What the linter finds: how bad it is, where it stands, and a sentence that says what is wrong and what is allowed."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from attrs import Factory, define, field, frozen

from rooftree.model import printable
from rooftree_files import PathRefused
from rooftree_store.catalogue import open_repository
from rooftree_store.readers import ContentInvalid, Finding, nearest
from rooftree_store.recognition import is_meant, may_be_meant
from rooftree_store.yaml_files import FileInvalid, Place, Places, content_in, parse_document

BEGINNING: Final = Place(1, 1)
MOST_FINDINGS: Final = 200
"""In one file; an author who has mended so many looks again."""


class Severity(enum.StrEnum):
    """How bad it is."""

    ERROR = "error"
    """The file is refused: the add-on is not offered, its translation not shown …"""
    WARNING = "warning"
    """It is accepted, and does not do what its author probably means, or will not for long."""
    HINT = "hint"
    """It could be better."""


@frozen(kw_only=True)
class FileFinding:
    """One thing, and where: the file, the line and column from 1, and the key's path (``options.logins[0].name``)."""

    file: str
    line: int | None = None
    column: int | None = None
    key: str = ""
    severity: Severity
    code: str
    """The kind of finding, such as ``unknown-key``."""
    message: str

    def __str__(self) -> str:
        place = "".join(f":{number}" for number in (self.line, self.column) if number is not None)
        key = f"{self.key}: " if self.key else ""
        return f"{self.file}{place}: {self.severity}: {key}{self.message} [{self.code}]"


def is_there(path: Path, root: Path) -> bool:
    """Whether something lies at a path in a folder; a link that leads out of it is there, though not followed."""
    with open_repository(root) as folder:
        try:
            return folder.status(str(path.relative_to(root))) is not None
        except PathRefused:
            return True


@define
class CheckedFile:
    """A file that is being checked, and what was found in it so far."""

    name: str
    """How findings call it."""
    content: Mapping[Any, Any] = Factory(dict)
    """Empty where the file cannot be read; then ``readable`` is false."""
    readable: bool = True
    may_be_addon: bool = False
    """Whether an add-on's configuration is meant with it."""
    findings: list[FileFinding] = field(factory=list)
    places: Places = field(factory=Places)

    @classmethod
    def of(cls, path: Path) -> Self:
        """A file that is not read as YAML or JSON, or not there at all."""
        return cls(printable(str(path)))

    @classmethod
    def read(cls, path: Path, root: Path) -> Self:
        """The mapping in a file; what keeps it from being read is the first finding."""
        file, data = cls.of(path), b""
        try:
            with open_repository(root) as folder:
                data = content_in(folder, str(path.relative_to(root))).data
            document = parse_document(data, path, file.places)
        except FileInvalid as error:
            file.readable, file.may_be_addon = False, not data or may_be_meant(data)
            place = Place(error.line, error.column or 1) if error.line is not None else None
            file.note_at(place, Severity.ERROR, "unreadable", error.reason)
            return file
        file.content, file.may_be_addon = document.content, is_meant(document.content)
        for repeated in document.repeated:
            file.note_at(
                repeated.place,
                Severity.WARNING,
                "repeated-key",
                "is there twice; only the last one counts",
                key=repeated.path,
            )
        return file

    @property
    def is_full(self) -> bool:
        """Whether nothing more is noted."""
        return len(self.findings) >= MOST_FINDINGS

    def note_at(self, place: Place | None, severity: Severity, code: str, message: str, *, key: str = "") -> None:
        """Note something at a place, or of the file as a whole."""
        if self.is_full:
            return
        if len(self.findings) == MOST_FINDINGS - 1:
            place, severity, code, key = None, Severity.WARNING, "too-many", ""
            message = f"has more than {MOST_FINDINGS - 1} things wrong; the rest is not shown"
        line, column = (place.line, place.column) if place is not None else (None, None)
        self.findings.append(
            FileFinding(
                file=self.name,
                line=line,
                column=column,
                key=printable(key),
                severity=severity,
                code=code,
                message=printable(message),
            )
        )

    def note(self, severity: Severity, code: str, key: str, message: str) -> None:
        """Note something of a key; where it is not in the file, at the nearest that it would stand in."""
        self.note_at(self._place(key), severity, code, message, key=key)

    def error(self, code: str, key: str, message: str) -> None:
        self.note(Severity.ERROR, code, key, message)

    def warning(self, code: str, key: str, message: str) -> None:
        self.note(Severity.WARNING, code, key, message)

    def hint(self, code: str, key: str, message: str) -> None:
        self.note(Severity.HINT, code, key, message)

    def refused(self, error: ContentInvalid, former: Mapping[str, str] = {}) -> None:
        """Note what a reader refused.

        :param former: what keys are called now, by what they were called before; a finding is told of the key that is
            in the file
        """
        written = {new: old for old, new in former.items() if old in self.content and new not in self.content}
        for finding in error.findings:
            first, _, rest = finding.path.partition(".")
            key = f"{written[first]}.{rest}".rstrip(".") if first in written else finding.path
            self.error("invalid", key, finding.message + self.as_written(key))

    def as_written(self, key: str) -> str:
        """The end of a sentence about a value: what was written, where YAML made something else of it."""
        written = self.places.written.get(key)
        return "" if written is None else f"; YAML makes another value of {written} without quotes"

    def left_out(self, findings: Iterable[Finding]) -> None:
        """Note what of a file that is used counts for nothing, or for something else elsewhere."""
        for finding in findings:
            self.warning("partly-refused", finding.path, finding.message)

    def unknown_keys(self, path: str, value: object, known: Iterable[str]) -> None:
        """Note the keys of a mapping that nothing reads."""
        words = list(known)
        for key in value if isinstance(value, Mapping) else ():
            if self.is_full:
                return
            if key not in words:
                where = f"{path}.{key}" if path else str(key)
                self.warning("unknown-key", where, f"is not a key that has a meaning here{nearest(key, words)}")

    def _place(self, key: str) -> Place:
        while key:
            if key in self.places.at:
                return self.places.at[key]
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return BEGINNING
