"""What is wrong as clients see it: an issue is a problem of the kernel that somebody can do something about, with what
is suggested against it."""

from __future__ import annotations

from attrs import frozen

from rooftree.events import Event, ProblemFacts


@frozen(kw_only=True)
class Suggestion:
    """What could be done about an issue; fields as the API has them."""

    type: str
    context: str
    reference: str | None
    reference_extra: ProblemFacts | None
    uuid: str
    """32 hex digits."""


@frozen(kw_only=True)
class Issue:
    """Something that is wrong; fields as the API has them."""

    type: str
    context: str
    reference: str | None
    reference_extra: ProblemFacts | None
    uuid: str
    """32 hex digits; the same for as long as it is wrong."""


@frozen
class IssueChanged(Event):
    """An issue appeared, or what is known or suggested of it changed."""

    issue: Issue
    suggestions: tuple[Suggestion, ...]


@frozen
class IssueRemoved(Event):
    """Something is no longer wrong, or nobody wants to be told of it any more."""

    issue: Issue
