"""From an installed distribution to a plugin's class: entry points, compatibility, and imports that may hang."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import copy_context
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version

import structlog
from packaging.requirements import Requirement

from rooftree.errors import Unavailable

log = structlog.get_logger(__name__)

GROUP = "rooftree.plugins"


def installed(group: str, found: Iterable[EntryPoint] | None) -> list[tuple[EntryPoint, str, str]]:
    """The entry points of a group with the names and versions of their distributions; the first of each name.

    :param found: those to choose from; ``None``: what is installed. Reads the disk: call it in a thread
    """
    chosen: dict[str, tuple[EntryPoint, str, str]] = {}
    for point in entry_points(group=group) if found is None else found:
        if point.group != group:
            continue
        distribution = (point.dist.name, point.dist.version) if point.dist is not None else (point.value, "0")
        if point.name in chosen:
            log.error("plugin_name_taken", plugin=point.name, ignored=distribution, used=chosen[point.name][1:])
            continue
        chosen[point.name] = (point, *distribution)
    return list(chosen.values())


def import_compatible(point: EntryPoint) -> object:
    """What the entry point leads to; raises ``Unavailable``, before importing, where it was written for another
    kernel."""
    _require_compatible(point)
    return point.load()


def _require_compatible(point: EntryPoint) -> None:
    """Raise unless the distribution's requirement on ``rooftree`` admits this kernel."""
    distribution: Distribution | None = point.dist
    if distribution is None:
        return
    try:
        ours = version("rooftree")
    except PackageNotFoundError:
        return
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.name == "rooftree" and not requirement.specifier.contains(ours, prereleases=True):
            raise Unavailable(f"it was written for rooftree {requirement.specifier}; this is {ours}")


async def in_thread_of_its_own(load: Callable[[], object]) -> object:
    """``load()`` in a thread that nobody waits for at the end: an import that hangs must not keep the process alive."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[object] = loop.create_future()

    def settle(value: object, error: Exception | None) -> None:
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
            loop.call_soon_threadsafe(settle, value, error)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="import a plugin", daemon=True)
    await asyncio.to_thread(thread.start)
    return await loaded


def refuse_misspelt(found: type, verbs: Collection[str]) -> None:
    """Raise ``TypeError`` for a class with a method that is almost one of ``verbs``: it would never be called."""
    own: Mapping[str, object] = vars(found)
    for method in own:
        near = difflib.get_close_matches(method, verbs, 1, 0.8)
        if near and method not in verbs and callable(own[method]):
            raise TypeError(f"{found.__name__}.{method}: did you mean {near[0]}?")
