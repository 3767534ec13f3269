"""Leaves out of what the daemon imports what only developers look at. The door of this package imports it first.

structlog imports rich where it finds it, to paint tracebacks. The daemon renders its lines itself
(``rooftree.daemon.logs``), and would pay a fifth of its start and several megabytes for nothing; rich is there for
the commands alone.

attrs writes Python for each class, and keeps the text of it for debuggers in :data:`linecache.cache`: 2 MB with the
classes of six domains, and never looked at. It also makes a second class for each, whose one instance lists the fields,
with a property for every field: 2 MB more. Here all share one class that looks a field up by its name. Most of the
Python is never called: here it is written when it is asked for (``rooftree.daemon.late_methods``). Both reach into
attrs: another version than the one that they were tried with is left as it is, and costs what it costs.

aiohttp comes with lists that are frozen in C++, for which the whole library of that language is loaded: 1 MB. The
daemon's few are as well frozen in Python. And it reads all roots that the machine trusts twice, once for connections
that verify nothing: 2 MB and 40 ms. They are read when the first connection with TLS is made.
"""

from __future__ import annotations

import linecache
import mimetypes
import os
import ssl
import sys
from importlib.metadata import version
from typing import Any, Final

from attr import _make
from attrs import Attribute


class _LinesOfFiles(dict[str, Any]):
    """What :mod:`linecache` keeps, without the lines of code that stands in no file."""

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As ``dict`` has it, for all but what attrs wrote: that is answered, and not kept."""
        return default if key.startswith(_GENERATED) else super().setdefault(key, default)


_GENERATED = "<attrs generated"
_KNOWN_ATTRS: Final = "26.1."
"""The versions whose inside is what is changed here."""


class _Fields(tuple["Attribute[Any]", ...]):
    """The fields of a class, which are also its attributes, as :func:`attrs.fields` promises."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Attribute[Any]:
        for field in self:
            if field.name == name:
                return field
        raise AttributeError(f"There is no field {name}")


class _LateRoots(ssl.SSLContext):
    """Reads whom it trusts when its first connection is made."""

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]  # from here on it is what it was made as
        self.load_default_certs()
        return self.wrap_bio(*arguments, **options)


def _read_late(context: ssl.SSLContext, purpose: ssl.Purpose) -> None:
    context.__class__ = _LateRoots


def _class_of_fields(cls_name: str, attr_names: list[str]) -> type:
    return _own_class(cls_name, attr_names) if _OF_TUPLES.intersection(attr_names) else _Fields


_OF_TUPLES = frozenset(dir(tuple))

linecache.cache = _LinesOfFiles(
    {key: lines for key, lines in linecache.cache.items() if not key.startswith(_GENERATED)}  # ours: a dict, no path
)
mimetypes.knownfiles.clear()  # nothing here asks by a file's name, and what it said would be another on each machine
if version("attrs").startswith(_KNOWN_ATTRS):
    from rooftree.daemon.late_methods import write_methods_late

    _own_class, _make._make_attr_tuple_class = _make._make_attr_tuple_class, _class_of_fields
    write_methods_late()

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # "there is no such module", in the import system's words
    try:
        import structlog  # noqa: F401  # for what its import does
    finally:
        del sys.modules["rich"]

if "frozenlist" not in sys.modules:
    os.environ["FROZENLIST_NO_EXTENSIONS"] = "1"  # its own switch
    try:
        import frozenlist  # noqa: F401  # as above
    finally:
        del os.environ["FROZENLIST_NO_EXTENSIONS"]

if "aiohttp" not in sys.modules:
    read_roots = ssl.SSLContext.load_default_certs
    ssl.SSLContext.load_default_certs = _read_late  # type: ignore[assignment,method-assign]
    ssl.SSLContext.set_default_verify_paths = lambda self: None  # type: ignore[method-assign]  # that which verifies nothing
    try:
        import aiohttp  # noqa: F401  # as above
    finally:
        ssl.SSLContext.load_default_certs = read_roots  # type: ignore[method-assign]
        del ssl.SSLContext.set_default_verify_paths
