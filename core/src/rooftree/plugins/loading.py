"""From an installed distribution to a plugin's class: entry points, compatibility, and imports that may hang."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Iterable
from contextvars import copy_context
from importlib.metadata import EntryPoint
from inspect import isfunction
from typing import Final, Self

import structlog
from attrs import frozen
from packaging.version import InvalidVersion, Version

from rooftree.errors import Failed
from rooftree.model import ParsedString, likely_meant

ALMOST: Final = 0.85
"""How alike two words are that differ by a slip: a letter more, fewer or other. 1 is the same word."""

log = structlog.get_logger(__name__)

GROUP = "rooftree.plugins"
KERNEL: Final = "kernel"
"""The owner of what is the kernel's own; no plugin's name."""
NAME_TAKEN: Final = "plugin_name_taken"
"""The type of the problem that two distributions have one name."""
NAME_REFUSED: Final = "plugin_name_refused"
"""The type of the problem that a plugin or driver has a name that none has."""


class PluginName(ParsedString):
    """The name of a plugin or a driver."""

    __slots__ = ()

    pattern = r"[a-z0-9][a-z0-9_-]{0,63}"
    allowed = "lower-case letters, digits, dashes and underscores, and not kernel"

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` with a sentence that says what is allowed."""
        super().check(text)
        if text == KERNEL:
            raise ValueError(f"must be {cls.allowed}")


@frozen
class Installed:
    """An entry point that is installed, and the distribution that it is from."""

    point: EntryPoint
    distribution: str
    version: str

    @classmethod
    def of(cls, point: EntryPoint) -> Self:
        """One as the import system has it; a test's own has no distribution."""
        if point.dist is None:
            return cls(point, point.value, "0")
        return cls(point, point.dist.name, point.dist.version)

    @property
    def name(self) -> str:
        """What it is called in its group."""
        return self.point.name

    @property
    def is_ours(self) -> bool:
        """Whether it comes with Rooftree: its distribution is called after it, as ours are."""
        return self.distribution == f"rooftree-{self.name}"

    @property
    def precedence(self) -> tuple[bool, Version, str]:
        """Where two have one name, the one with the greater is used: ours before a stranger's, then the newer."""
        try:
            version = Version(self.version)
        except InvalidVersion:
            version = Version("0")
        return self.is_ours, version, self.distribution

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@frozen
class LeftOut:
    """One that is not looked at any further: another has its name, or its name is none."""

    installed: Installed
    problem: str
    """The type of the problem that it is."""
    reason: str
    message: str
    """A sentence for people, with what to do."""


@frozen
class Choice:
    """What is installed in a group: of each name one, ours first, and those that are left out."""

    chosen: tuple[Installed, ...]
    left_out: tuple[LeftOut, ...]


def installed(group: str, points: Iterable[EntryPoint]) -> Choice:
    """The entry points of a group, from among those. Reads the disk: call it in a thread."""
    by_name: dict[str, list[Installed]] = {}
    for point in points:
        if point.group == group:
            by_name.setdefault(point.name, []).append(Installed.of(point))
    chosen, left_out = [], []
    for candidates in by_name.values():
        used, *others = sorted(candidates, key=lambda candidate: candidate.precedence, reverse=True)
        left_out += [_second(other, used, group) for other in others]
        try:
            PluginName.check(used.name)
            chosen.append(used)
        except ValueError as error:
            left_out.append(_misnamed(used, str(error), group))
    return Choice(tuple(sorted(chosen, key=lambda used: not used.is_ours)), tuple(left_out))


def _second(other: Installed, used: Installed, group: str) -> LeftOut:
    why = "it comes with Rooftree" if used.is_ours else "its version is the higher"
    return LeftOut(
        other,
        NAME_TAKEN,
        f"its name is that of {used}, which is used",
        f"Two distributions have a {group} called {other.name}: {used} is used, because {why}; {other} is left out. "
        "Uninstall one of them",
    )


def _misnamed(installed: Installed, allowed: str, group: str) -> LeftOut:
    return LeftOut(
        installed,
        NAME_REFUSED,
        f"its name {allowed}",
        f"{installed} has a {group} called {installed.name!r}, which is left out: a name {allowed}",
    )


async def imported_within(deadline_s: float, load: Callable[[], object]) -> object:
    """``load()`` in a thread of its own; raises :class:`~rooftree.errors.Failed` where that takes longer. Nobody waits
    for the thread at the end: an import that hangs must not keep the process alive."""
    try:
        async with asyncio.timeout(deadline_s):
            return await _in_thread_of_its_own(load)
    except TimeoutError:
        raise Failed(f"it was not imported within {deadline_s} s") from None


async def _in_thread_of_its_own(load: Callable[[], object]) -> object:
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[object] = loop.create_future()

    def hand_over(value: object, error: Exception | None) -> None:
        if loaded.done():
            return
        if error is None:
            loaded.set_result(value)
        else:
            loaded.set_exception(error)

    def work() -> None:
        value, error = None, None
        try:
            value = load()
        except Exception as raised:
            error = raised
        except BaseException as raised:  # sys.exit() in a module must not end the daemon
            error = RuntimeError(f"the import ended with {raised!r}")
        with contextlib.suppress(RuntimeError):  # it came after the deadline, and the loop has closed
            loop.call_soon_threadsafe(hand_over, value, error)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="import a plugin", daemon=True)
    await asyncio.to_thread(thread.start)
    return await loaded


def described(value: object) -> str:
    """What something is, without where in memory it lies: that is nothing to keep."""
    text = repr(value)
    if " at 0x" not in text:
        return text
    return f"{type(value).__name__} {getattr(value, '__qualname__', '')}".strip()


def checked_kind[K](kind: object, base: type[K], shown: str, name: str) -> type[K]:
    """What the entry point of that name leads to, as a subclass of ``base``, which authors know as ``shown``; raises
    ``TypeError`` for what is none, or is called otherwise."""
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise TypeError(f"the entry point leads to {described(kind)}, which is no subclass of {shown}")
    called = getattr(kind, "name", None)
    if called != name:
        raise TypeError(f"its class is called {called!r}, its entry point {name!r}; they must be the same")
    return kind


def refuse_misspelt(kind: type, base: type, verbs: Collection[str], attributes: Collection[str] = ()) -> None:
    """Raise ``TypeError`` for a class with a method that is almost called like a verb, or with anything else almost
    called like an attribute: it would never be looked at. Names that begin with ``_`` are the author's own.

    :param base: what the class derives from, beside classes of its author's
    """
    above = {parent for parent in kind.__mro__ if issubclass(base, parent)}
    written = {
        name: value for parent in reversed(kind.__mro__) if parent not in above for name, value in vars(parent).items()
    }
    for own, value in written.items():
        words = verbs if isfunction(value) else attributes
        if own in words or own.startswith("_"):  # most are: to look for what is like a name takes a tenth of a start
            continue
        if near := likely_meant(own, words, ALMOST):
            raise TypeError(f"{kind.__name__}.{own}: did you mean {near}?")
