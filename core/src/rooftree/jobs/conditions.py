"""Conditions: what has to be so before a job may begin.

A job names its conditions; plugins register how each is checked. A condition that nobody registers holds: on a machine
without NetworkManager nobody can say that there is no network. Somebody who knows better may have conditions ignored;
that is kept, and reported, because what goes wrong then is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog
from attrs import field, frozen

from rooftree.context import code_of
from rooftree.errors import Invalid
from rooftree.events import Problem, Problems
from rooftree.services import Service
from rooftree.state import Collection, State, document

log = structlog.get_logger(__name__)

type Check = Callable[[int], Awaitable[str | None]]
"""Called with the bytes that the job will fetch (0 while that is not known); answers why the condition does not hold,
in a sentence that says what to do, or ``None``."""

_KEY = "all"
CHECK_WITHIN_S = 10.0
"""Seconds that the check of a condition may take."""


@document("kernel.ignored_conditions", version=1)
@frozen
class IgnoredConditions:
    """The conditions that somebody has switched off."""

    names: tuple[str, ...] = field(factory=tuple)


class ConditionNotMet(Invalid):
    """A job was not begun, because something that it needs is not so. ``extra_fields``: ``job``, ``condition``."""

    error_key = "job_condition_error"


class Conditions:
    """The checks there are, and those to leave out."""

    def __init__(self, kept: Collection[IgnoredConditions], state: State, problems: Problems) -> None:
        self._kept = kept
        self._state = state
        self._problems = problems
        self._checks: dict[str, tuple[Check, str]] = {}

    @classmethod
    async def load(cls, state: State, problems: Problems) -> Conditions:
        """Read what is to be ignored."""
        return cls(await state.collection(IgnoredConditions), state, problems)

    def register(self, name: str, check: Check, owner: str) -> None:
        """Say how a condition is checked; raises ``ValueError`` when another plugin has said so already."""
        _, other = self._checks.get(name, (check, owner))
        if other != owner:
            raise ValueError(f"the condition {name} is already checked by plugin {other}")
        self._checks[name] = (check, owner)

    def forget(self, name: str) -> None:
        """Nobody says any more how the condition is checked."""
        self._checks.pop(name, None)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The conditions that are not looked at."""
        return self._kept.get(_KEY, IgnoredConditions()).names

    async def ignore(self, names: Iterable[str], unchecked: Iterable[str] = ()) -> None:
        """Leave these out from now on, and no others; raises :class:`Invalid` for a name that no condition has.

        :param unchecked: names of conditions that nobody may be checking
        """
        wanted, allowed = tuple(sorted(set(names))), {*unchecked, *self._checks}
        unknown = [name for name in wanted if name not in allowed]
        if unknown:
            raise Invalid(
                f"ignore_conditions: {', '.join(unknown)} is no condition; allowed are {', '.join(sorted(allowed))}"
            )
        if wanted != self.ignored:
            await self._state.commit(self._kept.put(_KEY, IgnoredConditions(wanted)))
        self.report()

    def report(self) -> None:
        """Report what is ignored as a problem, or clear it."""
        if self.ignored:
            sentence = f"These job conditions are ignored: {', '.join(self.ignored)}. What fails for it can't be helped"
            self._problems.report(Problem("job_conditions", "system", None, sentence, severity="unsupported"))
        else:
            self._problems.clear("job_conditions")

    async def require(self, job: str, names: Iterable[str], fetch_bytes: int = 0) -> None:
        """Raise :class:`ConditionNotMet` for the first that does not hold."""
        for name in names:
            entry = self._checks.get(name)
            if entry is None:
                continue
            reason = await _reason(name, *entry, fetch_bytes)
            if reason is None:
                continue
            if name in self.ignored:
                log.warning("condition_ignored", job_name=job, condition=name, reason=reason)
                continue
            raise ConditionNotMet(f"{job} was not begun: {reason} (condition {name})", job=job, condition=name)


async def _reason(name: str, check: Check, owner: str, fetch_bytes: int) -> str | None:
    """Why a condition does not hold. One whose check is broken does not: nobody can say that it does."""
    try:
        with code_of(owner):
            async with asyncio.timeout(CHECK_WITHIN_S):
                return await check(fetch_bytes)
    except Exception as error:
        log.exception("condition_not_checked", condition=name, plugin=owner)
        what = f"took more than {CHECK_WITHIN_S:g} s" if isinstance(error, TimeoutError) else f"failed: {error}"
        return f"its check by plugin {owner} {what}; ignore the condition to go on without it"


CONDITIONS = Service[Conditions]("conditions/1")
