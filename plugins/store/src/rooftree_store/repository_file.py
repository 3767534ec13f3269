"""``repository.yaml``: what a repository calls itself and who looks after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rooftree_store.readers import ContentInvalid, Problems, maybe, text, url


class RepositoryInvalid(ContentInvalid):
    """A repository file was read and is not what it should be."""


@frozen
class RepositoryFile:
    """A repository's description of itself."""

    name: str
    url: str | None = None
    maintainer: str | None = None


def parse_repository_file(raw: Mapping[Any, Any]) -> RepositoryFile:
    """The typed file; unknown keys are ignored. Raises :class:`RepositoryInvalid` with every problem."""
    problems = Problems()
    name = problems.required(raw, "name", text)
    link = problems.optional(raw, "url", maybe(url))
    maintainer = problems.optional(raw, "maintainer", maybe(text))
    if name is None or problems.noted:
        raise RepositoryInvalid(problems.noted)
    return RepositoryFile(name, link, maintainer)
