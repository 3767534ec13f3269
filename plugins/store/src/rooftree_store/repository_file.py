"""``repository.yaml``: what a repository calls itself and who looks after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rooftree_store.readers import ContentInvalid, Findings, maybe, text, url


class RepositoryInvalid(ContentInvalid):
    """A repository file was read and is not what it should be."""


@frozen
class RepositoryFile:
    """A repository's description of itself."""

    name: str
    url: str | None = None
    maintainer: str | None = None


def parse_repository_file(raw: Mapping[Any, Any]) -> RepositoryFile:
    """The typed file; unknown keys are ignored. Raises :class:`RepositoryInvalid` with every finding."""
    findings = Findings()
    name = findings.required(raw, "name", text)
    link = findings.optional(raw, "url", maybe(url))
    maintainer = findings.optional(raw, "maintainer", maybe(text))
    if name is None or findings.noted:
        raise RepositoryInvalid(findings.noted)
    return RepositoryFile(name, link, maintainer)
