"""The kernel's problems as issues, with what is suggested against each; and those that a user does not want to see.

A problem is its reporter's: it is cleared when it is right again. An issue that was dismissed is shown no more for as
long as it stays the same problem, over restarts too; the problem itself remains in ``/kernel/v1/problems``.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any, Final, Self

from attrs import frozen

from rooftree import (
    Collection,
    Event,
    Invalid,
    JobCall,
    Kernel,
    Problem,
    ProblemCleared,
    ProblemReported,
    Service,
    Unavailable,
    document,
)
from rooftree.interfaces import hooks
from rooftree.interfaces.resolution import Issue, IssueChanged, IssueRemoved, Suggestion
from rooftree_resolution.models import (
    IssueNotFound,
    ListedIssue,
    ListedSuggestion,
    SuggestionNotFound,
)

CONTEXTS: Final = frozenset({"addon", "core", "dns_server", "mount", "os", "plugin", "supervisor", "store", "system"})
"""Those that clients know: one issue with another makes all of them unreadable."""
ANY_OTHER: Final = "system"
"""In place of a context that a plugin has made up."""


@document("resolution.dismissed", version=1)
@frozen
class Dismissed:
    """An issue or a suggestion that a user does not want to see; kept by its id."""

    problem: str
    """The id of the problem that it belongs to."""


@frozen
class Offer:
    """A suggestion with the problem that it is made against."""

    suggestion: Suggestion
    problem: Problem


class Resolution:
    """Knows what is shown."""

    def __init__(self, kernel: Kernel, dismissed: Collection[Dismissed]) -> None:
        self._kernel = kernel
        self._dismissed = dismissed
        self._shown: set[str] = set()
        """The ids of the problems that were told of as issues."""

    @classmethod
    async def load(cls, kernel: Kernel) -> Self:
        """With what was dismissed before, as far as it is still wrong."""
        resolution = cls(kernel, await kernel.collection(Dismissed))
        there = {problem.uuid for problem in kernel.problems}
        gone = [uuid for uuid, dismissed in resolution._dismissed.items() if dismissed.problem not in there]
        with suppress(Unavailable):  # on a full disk they are forgotten at the next start
            await kernel.commit(*map(resolution._dismissed.delete, gone))
        resolution._shown = {problem.uuid for problem in resolution._problems()}
        kernel.on(Event, resolution._happened)  # both by one listener: in the order in which it happened
        return resolution

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def issues(self) -> list[ListedIssue]:
        """Every issue that is to be seen."""
        return [ListedIssue(**_keys(problem), message=problem.message) for problem in self._problems()]

    def reasons(self, severity: str) -> list[str]:
        """Why the system is ``unsupported`` or ``unhealthy``, in words, each once."""
        return sorted({problem.type for problem in self._kernel.problems if problem.severity == severity})

    def offers(self) -> list[Offer]:
        """Everything that is suggested, also against what is no issue."""
        problems = [problem for problem in self._kernel.problems if problem.uuid not in self._dismissed]
        return [offer for problem in problems for offer in self._offers(problem)]

    def suggestions(self, issue: str | None = None) -> list[ListedSuggestion]:
        """What is suggested against an issue, or against all; raises :class:`IssueNotFound`."""
        offers = self.offers() if issue is None else self._offers(self._issue(issue))
        return [
            ListedSuggestion(
                type=offer.suggestion.type,
                context=offer.suggestion.context,
                reference=offer.suggestion.reference,
                reference_extra=offer.suggestion.reference_extra,
                uuid=offer.suggestion.uuid,
            )
            for offer in offers
        ]

    def offer(self, uuid: str) -> Offer:
        """One suggestion; raises :class:`SuggestionNotFound`."""
        for offer in self.offers():
            if offer.suggestion.uuid == uuid:
                return offer
        raise SuggestionNotFound(f"There is no suggestion {uuid}; what it was made against may be over", uuid=uuid)

    async def remedy(self, offer: Offer) -> JobCall[None]:
        """The job that does what is suggested; raises ``Invalid`` for what nobody here can do."""
        calls = await self._kernel.call(hooks.remedy, offer.problem, offer.suggestion.type)
        for call in filter(None, calls):
            return call
        raise Invalid(
            f"{offer.suggestion.type} is nothing that can be done from here: {offer.problem.message or 'do it by hand'}"
        )

    def _issue(self, uuid: str) -> Problem:
        for problem in self._problems():
            if problem.uuid == uuid:
                return problem
        raise IssueNotFound(f"There is no issue {uuid}; it may be over", uuid=uuid)

    def _problems(self) -> list[Problem]:
        return [
            problem
            for problem in self._kernel.problems
            if problem.severity == "issue" and problem.uuid not in self._dismissed
        ]

    def _offers(self, problem: Problem) -> list[Offer]:
        """What is suggested against a problem. One suggestion has always the same id."""
        offers = []
        for word in problem.suggestions:
            uuid = hashlib.sha256(f"{problem.uuid}/{word}".encode()).hexdigest()[:32]
            if uuid not in self._dismissed:
                offers.append(Offer(Suggestion(**{**_keys(problem), "type": word, "uuid": uuid}), problem))
        return offers

    # --- what changes -------------------------------------------------------------------------------------------------

    async def dismiss_issue(self, uuid: str) -> None:
        """Show an issue no more; raises :class:`IssueNotFound`."""
        problem = self._issue(uuid)
        await self._kernel.commit(self._dismissed.put(uuid, Dismissed(uuid)))
        self._removed(problem)

    async def dismiss_suggestion(self, uuid: str) -> None:
        """Make a suggestion no more; raises :class:`SuggestionNotFound`."""
        problem = self.offer(uuid).problem
        await self._kernel.commit(self._dismissed.put(uuid, Dismissed(problem.uuid)))
        if problem.uuid in self._shown:
            self._tell(problem)

    async def _happened(self, event: Event) -> None:
        match event:
            case ProblemReported(problem):
                self._reported(problem)
            case ProblemCleared(problem):
                await self._cleared(problem)
            case _:
                pass

    def _reported(self, problem: Problem) -> None:
        if problem.uuid in self._dismissed:
            return
        if problem.severity == "issue":
            self._shown.add(problem.uuid)
            self._tell(problem)
        else:
            self._removed(problem)  # it is worse than an issue by now

    async def _cleared(self, problem: Problem) -> None:
        self._removed(problem)
        over = [known for known, dismissed in self._dismissed.items() if dismissed.problem == problem.uuid]
        if over:
            with suppress(Unavailable):  # on a full disk they are forgotten at the next start
                await self._kernel.commit(*map(self._dismissed.delete, over))

    def _tell(self, problem: Problem) -> None:
        suggestions = tuple(offer.suggestion for offer in self._offers(problem))
        self._kernel.publish(IssueChanged(Issue(**_keys(problem)), suggestions))

    def _removed(self, problem: Problem) -> None:
        if problem.uuid in self._shown:
            self._shown.discard(problem.uuid)
            self._kernel.publish(IssueRemoved(Issue(**_keys(problem))))


RESOLUTION = Service[Resolution]("resolution/1")


def _keys(problem: Problem) -> dict[str, Any]:
    """What an issue and its suggestions have in common."""
    return {
        "type": problem.type,
        "context": problem.context if problem.context in CONTEXTS else ANY_OTHER,
        "reference": problem.reference,
        "reference_extra": problem.extra,
        "uuid": problem.uuid,
    }
