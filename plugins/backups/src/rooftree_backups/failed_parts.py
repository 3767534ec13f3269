"""What was asked for and is not in a backup: noted in the backup itself, so that it is known wherever the file goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import asdict, frozen

from rooftree import RooftreeError
from rooftree.interfaces.backups import BackupHead, PartId, PartKind
from rooftree.model import printable

OURS: Final = "rooftree"
"""The key of ``extra`` under which we keep what is ours."""
FAILED: Final = "failed"
MOST: Final = 1_000


@frozen(kw_only=True)
class FailedPart:
    """A part that a backup was made without."""

    kind: PartKind
    slug: str
    message: str

    @classmethod
    def of(cls, part: PartId, error: RooftreeError) -> FailedPart:
        """Why a part is not there."""
        return cls(kind=part.kind, slug=part.slug, message=error.message)


def failed_parts(head: BackupHead) -> list[FailedPart]:
    """The parts that a backup was made without, as it says itself. What is no such note is left out: anybody may have
    written the file."""
    ours = head.extra.get(OURS)
    notes = ours.get(FAILED) if isinstance(ours, Mapping) else None
    return [part for note in notes[:MOST] if (part := _read(note))] if isinstance(notes, list) else []


def _read(note: Any) -> FailedPart | None:
    if not isinstance(note, Mapping):
        return None
    kind, slug, message = (note.get(key) for key in ("kind", "slug", "message"))
    if kind not in set(PartKind) or not isinstance(slug, str) or not isinstance(message, str):
        return None
    return FailedPart(kind=PartKind(kind), slug=printable(slug)[:200], message=printable(message)[:1_500])


def with_failed_parts(extra: Mapping[str, Any], failed: Sequence[FailedPart]) -> dict[str, Any]:
    """What a backup's maker gave along, and the note of what is missing where something is."""
    if not failed:
        return dict(extra)
    return {**extra, OURS: {**extra.get(OURS, {}), FAILED: [asdict(part) for part in failed]}}


def without_ours(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What a client gives along, less what would pass for a note of ours."""
    return {key: value for key, value in extra.items() if key != OURS}
