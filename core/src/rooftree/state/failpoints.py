"""Named places in the code where a test makes the process die or the disk fail.

A test instrument and nothing else: the environment variable ``ROOFTREE_FAILPOINTS`` arms places by name, for example
``database.before_commit=kill@3,data_folder.before_rename=nospace``. It is read once, when this module is imported;
without it, reaching a place costs one look at an empty dictionary.

Actions: ``kill`` (SIGKILL to this process), ``raise`` (``OSError`` EIO), ``nospace`` (``OSError`` ENOSPC); ``@N`` means
only the Nth time the place is reached, otherwise every time.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Final

from attrs import field, frozen

VARIABLE: Final = "ROOFTREE_FAILPOINTS"


def _kill(name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail_input_output(name: str) -> None:
    raise OSError(errno.EIO, f"failpoint {name}")


def _fail_no_space(name: str) -> None:
    raise OSError(errno.ENOSPC, f"failpoint {name}")


_ACTIONS: Final = {"kill": _kill, "raise": _fail_input_output, "nospace": _fail_no_space}


@frozen
class _Armed:
    action: Callable[[str], None]
    only_time: int | None
    times: count[int] = field(factory=lambda: count(1))


_armed: dict[str, _Armed] = {}


async def reach(name: str) -> None:
    """Do what is armed for ``name``, in async code; raises what the action raises."""
    reach_sync(name)


def reach_sync(name: str) -> None:
    """Do what is armed for ``name``; raises what the action raises."""
    if _armed and (armed := _armed.get(name)) and armed.only_time in {None, next(armed.times)}:
        armed.action(name)


def arm(specification: str) -> None:
    """Arm exactly these places, from now on, in this process; an empty specification disarms all.

    Raises ``ValueError`` for a specification that does not read ``name=action`` or ``name=action@N``: a misspelt
    failpoint must not look like a test that passed.
    """
    armed = dict(_parse(item) for item in specification.split(",") if item)
    _armed.clear()
    _armed.update(armed)


def _parse(item: str) -> tuple[str, _Armed]:
    name, _, verb = item.partition("=")
    action, at, time = verb.partition("@")
    if not name or action not in _ACTIONS or (at and not (time.isdecimal() and int(time))):
        raise ValueError(
            f"{VARIABLE}: {item!r} must read name=action or name=action@N; actions are {', '.join(_ACTIONS)}"
        )
    return name, _Armed(_ACTIONS[action], int(time) if at else None)


arm(os.environ.get(VARIABLE, ""))
