"""Where in somebody's code a fault is, for a sentence about it: file, line and what stands there.

An exception tells by its traceback; what is refused for how it is written is looked up where it is written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from traceback import extract_tb
from types import CodeType

type Place = tuple[str, int, str]
"""File, line, and the name of the function or class, as a traceback has them."""


def told(error: BaseException, package: str, looked_at: Sequence[object] = ()) -> str:
    """What went wrong, in a line: with the error's type, and with the place in a package where there is one, as in
    ``KeyError: 'token' (rooftree_boom/plugin.py:11, setup)``.

    :param looked_at: what of the package's code was judged, the narrowest last: the fault is there when none of its
        lines raised
    """
    said = f"{type(error).__name__}: {error}" if str(error) else repr(error).removesuffix("()")
    places = [place for thing in looked_at for place in _written_at(thing)]
    places += [(frame.filename, frame.lineno or 0, frame.name) for frame in extract_tb(error.__traceback__)]
    return said + _last_within(package, places)


def with_place(sentence: str, thing: object) -> str:
    """A sentence about a function or a class, with where that is written, where anybody knows."""
    return sentence + _last_within(package_of(thing), [*_written_at(thing)])


def package_of(thing: object) -> str:
    """The package that a function or a class is in."""
    return str(getattr(thing, "__module__", "")).partition(".")[0]


def _last_within(package: str, places: Sequence[Place]) -> str:
    own = [place for place in places if package in Path(place[0]).with_suffix("").parts]
    if not own:
        return ""
    file, line, name = own[-1]
    parts = Path(file).parts
    begin = len(parts) - 1 - [*reversed([Path(part).stem for part in parts])].index(package)
    return f" ({'/'.join(parts[begin:])}:{line}, {name})"


def _written_at(thing: object) -> Iterator[Place]:
    code = getattr(thing, "__code__", None)
    if isinstance(code, CodeType):
        yield code.co_filename, code.co_firstlineno, code.co_name
    elif isinstance(thing, type) and (line := vars(thing).get("__firstlineno__")) is not None:
        file = getattr(sys.modules.get(thing.__module__), "__file__", None)
        if file is not None:
            yield file, line, thing.__name__
