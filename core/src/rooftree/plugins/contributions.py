"""Putting an answer together from what several domains know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_type_hints

import structlog

from rooftree.errors import Invalid
from rooftree.model import structure, unstructure

log = structlog.get_logger(__name__)


def merged[T](kind: type[T], own: Mapping[str, object], contributed: Iterable[object]) -> T:
    """An answer of class ``kind``: our own values, and in their place what other domains contribute.

    A contribution is a mapping from keys of the answer to values. What is no key of the answer, or has the wrong type,
    is left out with a warning: one domain's mistake costs the others nothing.
    """
    kinds = get_type_hints(kind)
    values = dict(own)
    for contribution in contributed:
        if not isinstance(contribution, Mapping):
            _warn(kind.__name__, f"must be a mapping, not {contribution!r}")
            continue
        for key, value in contribution.items():
            if key not in kinds:
                _warn(f"{kind.__name__}.{key}", "is no key of this answer")
                continue
            try:
                values[key] = structure(unstructure(value), kinds[key])
            except Invalid as error:
                _warn(f"{kind.__name__}.{key}", error.message)
    return kind(**values)


def understood[T](kind: type[T], contributed: Iterable[object], where: str) -> list[T]:
    """The contributions that are of type ``kind``; the others are left out with a warning."""
    found = []
    for contribution in contributed:
        try:
            found.append(structure(unstructure(contribution), kind))
        except Invalid as error:
            _warn(where, error.message)
    return found


def _warn(what: str, reason: str) -> None:
    log.warning("contribution_dropped", what=what, reason=reason)
