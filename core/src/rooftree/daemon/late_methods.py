"""Lets attrs write the methods of a class when they are first asked for.

attrs writes four methods for each class, as Python that is compiled when the class is made. There are 650 classes and
more, and four of five are not made an object of before the first request that is about them; of hardly any it is ever
asked what one looks like in a log, whether it equals another, or what its hash is. Written late they cost 5 MB less,
and the imports of all domains a quarter less of the processor.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from attr import _make

type _Builder = Any
"""What attrs makes a class with, step by step. It is attrs' own affair, and has no types."""
_Builders: _Builder = _make._ClassBuilder
_WRITTEN = {"__init__": "add_init", "__repr__": "add_repr", "__eq__": "add_eq", "__hash__": "add_hash"}
"""Which step writes which method."""


class _LateMethod:
    """Stands in a class for a method that is written when it is first looked up, and takes this one's place then."""

    __slots__ = ("_builder", "_name", "_options", "_write")

    def __init__(self, name: str, builder: _Builder, write: Callable[..., object], options: tuple[object, ...]) -> None:
        self._name = name
        self._builder = builder
        self._write = write
        self._options = options

    def __get__(self, instance: object, owner: type) -> Any:
        builder = copy.copy(self._builder)  # another thread may be about to write another of its methods
        builder._cls_dict, builder._script_snippets = {}, []
        self._write(builder, *self._options)
        builder._eval_snippets()
        method = builder._cls_dict[self._name]
        setattr(builder._cls, self._name, method)
        return method.__get__(instance, owner)


def _write_late(name: str, step: str) -> None:
    """Let attrs leave a method for later, in classes that it makes anew for their slots."""
    write = getattr(_Builders, step)

    def leave(builder: _Builder, *options: object) -> _Builder:
        write(builder, *options)
        if builder._slots:
            builder._script_snippets.pop()  # what it was just given
            builder._cls_dict[name] = _LateMethod(name, builder, write, options)
        return builder

    setattr(_Builders, step, leave)


def _forget_what_classes_are_made_of() -> None:
    """Of what a class was made with, keep what writing its methods needs, and the class that came of it."""
    build = _Builders.build_class

    def build_class(builder: _Builder) -> Any:
        builder._cls = cls = build(builder)
        builder._cls_dict, builder._script_snippets = {}, []
        return cls

    _Builders.build_class = build_class


def write_methods_late() -> None:
    """From here on; the classes that are there have their methods."""
    for name, step in _WRITTEN.items():
        _write_late(name, step)
    _forget_what_classes_are_made_of()
