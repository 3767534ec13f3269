"""What goes wrong in a system though no test asked about it: then the test fails, unless it allows that."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, get_args

from attrs import field, frozen

import rooftree
from rooftree.events import Event, Problem, ProblemReported, TaskWatch
from rooftree.plugins import PluginHealthChanged
from rooftree.process import LoopBlocked, System

type Failing = Literal[
    "plugin_failed", "driver_failed", "loop_blocked", "task_failed", "listener_failed", "route_failed", "hook_failed",
    "undo_failed", "never_awaited",
]  # fmt: skip
"""What may go wrong: a plugin or a driver does not run; code (not the test's own) held the event loop for a second; a
task, a listener, the answer to a hook or the undo of a step raised; a route raised what is no answer to a client; an
``async def`` was called without ``await``, so that nothing of it was done."""

FAILING: Final[tuple[Failing, ...]] = get_args(Failing.__value__)
_KERNEL: Final = str(Path(rooftree.__file__).parent)
_PROBLEMS: Final[dict[str, Failing]] = {
    "driver_failed": "driver_failed",
    "hook_failed": "hook_failed",
    "undo_failed": "undo_failed",
}
"""The types of problems that say so."""


@frozen
class Failure:
    """Something that went wrong."""

    kind: Failing
    message: str
    error: BaseException | None = field(default=None, eq=False)


class Failures:
    """What has gone wrong in a system.

    :param allow: what the test is about; raises ``ValueError`` for a word that is none of :data:`FAILING`
    """

    def __init__(self, allow: Collection[Failing]) -> None:
        if isinstance(allow, str) or not set(allow) <= set(FAILING):
            raise ValueError(f"allow: must be a collection of {', '.join(FAILING)}, not {allow!r}")
        self._allowed = frozenset(allow)
        self._failures: dict[Failure, None] = {}

    def watch(self, system: System) -> None:
        """Note what goes wrong from now on; to be called while the system is open and has no plugin yet."""
        self._hearing = [
            system.bus.subscribe(kind, self._look, "rooftree.testing")
            for kind in (PluginHealthChanged, ProblemReported, LoopBlocked)
        ]
        system.bus.on_failure = self._listener_failed
        system.server.on_crash = self._route_failed
        system.tasks.watch = _WatchedTasks(self, system.tasks.watch)

    async def heard(self) -> None:
        """Wait until what was published so far has been looked at."""
        for subscription in self._hearing:
            await subscription.drained()

    def note(self, kind: Failing, message: str, error: BaseException | None = None) -> None:
        """Something went wrong."""
        if kind not in self._allowed:
            self._failures.setdefault(Failure(kind, message, error))

    def note_problems(self, problems: Iterable[Problem]) -> None:
        """Note what is wrong as a problem: one that was there when the system started is no news to anybody."""
        for problem in problems:
            if problem.type in _PROBLEMS:
                self.note(_PROBLEMS[problem.type], problem.message)

    def told(self) -> str:
        """All of it, a line each; nothing where nothing went wrong."""
        return "\n".join(f"{failure.kind}: {failure.message}" for failure in self._failures)

    def refuse(self) -> None:
        """Raise ``AssertionError``, from the first error there is, when something went wrong."""
        if self._failures:
            words = ", ".join(sorted({f'"{failure.kind}"' for failure in self._failures}))
            cause = next((failure.error for failure in self._failures if failure.error is not None), None)
            raise AssertionError(
                f"{self.told()}\nWhere that is what the test is about, say so: allow={{{words}}}"
            ) from cause

    def _look(self, event: Event) -> None:
        match event:
            case PluginHealthChanged(name, "failed", reason):
                self.note("plugin_failed", f"plugin {name} does not run: {reason}")
            case ProblemReported(problem):
                self.note_problems([problem])
            case LoopBlocked(plugin=None, where=where) if not where.startswith(_KERNEL):
                pass  # the test's own code, which shares the loop
            case LoopBlocked():
                culprit = f"plugin {event.plugin}, " if event.plugin else ""
                self.note("loop_blocked", f"the event loop was blocked for {event.seconds:g} s: {culprit}{event.where}")
            case _:
                pass

    def _listener_failed(self, owner: str, kind: str, error: BaseException) -> None:
        self.note("listener_failed", f"the listener of {owner} to {kind} raised {error!r}", error)

    def _route_failed(self, owner: str, route: str, error: BaseException) -> None:
        self.note("route_failed", f"the route {route} of {owner} raised {error!r}", error)


@frozen
class _WatchedTasks:
    """Notes failures beside telling who was told before."""

    failures: Failures
    told: TaskWatch | None

    def failed(self, owner: str, task: str, failures: int, error: BaseException) -> None:
        self.failures.note("task_failed", f"the task {task} of {owner} raised {error!r}", error)
        if self.told is not None:
            self.told.failed(owner, task, failures, error)

    def well(self, owner: str, task: str) -> None:
        if self.told is not None:
            self.told.well(owner, task)


@contextmanager
def nothing_fails(allow: Collection[Failing]) -> Iterator[Failures]:
    """A block that ends with ``AssertionError`` when something went wrong in it that is not allowed. An error of its
    own goes on, with a note of what went wrong besides."""
    failures = Failures(allow)
    try:
        with _nothing_is_forgotten(failures):
            yield failures
    except BaseException as error:
        if told := failures.told():
            error.add_note(f"Besides, in the system:\n{told}")
        raise
    failures.refuse()


@contextmanager
def _nothing_is_forgotten(failures: Failures) -> Iterator[None]:
    """Note coroutines that nobody awaits. Python only warns of them, and not by the warnings that pytest's filters are
    for alone: what it calls for each is replaced here, so that no filter hides one."""

    def note(coroutine: Coroutine[Any, Any, Any]) -> None:
        code = coroutine.cr_code  # type: ignore[attr-defined]  # of an ``async def``
        place = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
        failures.note("never_awaited", f"{code.co_qualname} ({place}) was called without await: nothing was done")

    before = vars(warnings)["_warn_unawaited_coroutine"]
    vars(warnings)["_warn_unawaited_coroutine"] = note
    try:
        yield
    finally:
        vars(warnings)["_warn_unawaited_coroutine"] = before
