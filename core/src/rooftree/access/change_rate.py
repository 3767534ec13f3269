"""How often callers may change something: a program gone wild must not keep the disk and everybody else busy."""

from __future__ import annotations

from collections.abc import Callable

from rooftree.clock import MACHINE, Clock
from rooftree.context import caller, job_under_way
from rooftree.errors import RateLimited
from rooftree.model import Limit, Rate, Throttle
from rooftree.principal import CallerKind, Principal, Role


class ChangeRate:
    """Counts what each caller changes, at once or by beginning a job.

    Administrators are not counted: people wait for what they do. Those of some
    kinds are, see :class:`~rooftree.principal.CallerKind`.

    :param kind_of: the kind of callers of that name, where one is registered
    """

    def __init__(self, rate: Rate, kind_of: Callable[[str], CallerKind | None], clock: Clock = MACHINE) -> None:
        self.rate = rate
        self._kind_of = kind_of
        self._throttle = Throttle(clock)

    def note(self) -> None:
        """The call under way is about to change something; raises :class:`~rooftree.errors.RateLimited` where its
        caller does so too often. What a job does was counted when it began."""
        who = caller.get()
        if who is None or job_under_way.get() is not None or not self._is_counted(who):
            return
        limit = Limit("change", str(who), self.rate)
        if wait_s := self._throttle.wait_s(limit):
            sentence = f"{who} may change something {self.rate}; it may again in {wait_s} s"
            raise RateLimited(sentence, who=str(who), wait_s=wait_s)
        self._throttle.note([limit])

    def _is_counted(self, who: Principal) -> bool:
        if who.role is not Role.ADMIN:
            return True
        kind = self._kind_of(who.kind)
        return kind is not None and kind.admins_are_counted
