"""The shapes of the answers, as the contract has them."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen

from rooftree import UNSET, NotFound, ParsedString, Unset
from rooftree.interfaces.resolution import Issue, Suggestion


class IssueId(ParsedString):
    """The id of an issue."""

    __slots__ = ()

    pattern = r"[0-9a-f]{32}"
    allowed = "the id of an issue, 32 hex digits; /resolution/info lists them"


class SuggestionId(ParsedString):
    """The id of a suggestion."""

    __slots__ = ()

    pattern = r"[0-9a-f]{32}"
    allowed = "the id of a suggestion, 32 hex digits; /resolution/info lists them"


class CheckName(ParsedString):
    """What a check is called."""

    __slots__ = ()

    pattern = r"[a-z][a-z0-9_]{0,63}"
    allowed = "the name of a check; /resolution/info lists them"


class IssueNotFound(NotFound):
    """There is no such issue. ``extra_fields``: ``uuid``."""

    error_key = "resolution_issue_not_found_error"


class SuggestionNotFound(NotFound):
    """There is no such suggestion. ``extra_fields``: ``uuid``."""

    error_key = "resolution_suggestion_not_found_error"


class CheckNotFound(NotFound):
    """There is no such check. ``extra_fields``: ``check``."""

    error_key = "resolution_check_not_found_error"


@frozen(kw_only=True)
class ListedIssue(Issue):
    """An issue in an answer."""

    message: str
    """One sentence for people; ours, clients do without."""


@frozen(kw_only=True)
class ListedSuggestion(Suggestion):
    """A suggestion in an answer."""

    auto: bool = False
    """Whether it is carried out by itself: none is, what can be mended without asking is mended where it happens."""


@frozen
class SuggestionList:
    """What is suggested against an issue."""

    suggestions: Sequence[ListedSuggestion]


@frozen(kw_only=True)
class ListedCheck:
    """A check in an answer."""

    slug: str
    enabled: bool


@frozen(kw_only=True)
class CheckOptions:
    """What can be changed of a check."""

    enabled: bool | Unset = UNSET


@frozen(kw_only=True)
class ResolutionInfo:
    """Everything that is wrong."""

    unsupported: Sequence[str]
    """Why nobody answers for this installation."""
    unhealthy: Sequence[str]
    """Why nothing new should be done with it."""
    suggestions: Sequence[ListedSuggestion]
    issues: Sequence[ListedIssue]
    checks: Sequence[ListedCheck] = field(factory=list)
