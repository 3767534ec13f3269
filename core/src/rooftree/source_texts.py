"""What the source says below the names of a module: Python itself keeps no docstring of a class's attribute.

It is read when somebody asks, and nothing of it is kept: by ``help()``, and for the API's documents.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path


def texts_of(module: str) -> Mapping[str, str]:
    """The strings below the names of a module, by name, those of classes as ``Class.name``; none where the source is
    not there. Blocks."""
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        source = Path(file or "").read_text("utf-8")  # ours: what is imported
    except (OSError, UnicodeDecodeError):  # it has none, or is installed without it
        source = ""
    return dict(_texts(ast.parse(source).body, ""))


class WholeText(str):
    """A class's docstring which, when it is asked for as ``__doc__``, goes on with what is said of its attributes."""

    __slots__ = ()

    def __get__(self, instance: object, owner: type) -> str:
        said = texts_of(owner.__module__)
        own = ((name, said.get(f"{owner.__qualname__}.{name}")) for name in inspect.get_annotations(owner))
        lines = [f"{name}: {' '.join(text.split())}" for name, text in own if text is not None]
        return "\n\n".join([inspect.cleandoc(self), *lines])


def tell_whole[T](value: T) -> T:
    """Let ``help()`` show what a class says of its attributes; anything else is left as it is."""
    text = vars(value).get("__doc__") if isinstance(value, type) else None
    if isinstance(text, str) and value.__module__.startswith("rooftree."):
        value.__doc__ = WholeText(text)
    return value


def _texts(body: Sequence[ast.stmt], home: str) -> Iterator[tuple[str, str]]:
    """Each name in a body with the string below it."""
    for statement, below in pairwise([*body, None]):
        match statement:
            case ast.ClassDef(name=name, body=inner):
                yield from _texts(inner, f"{home}{name}.")
                continue
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.TypeAlias(name=ast.Name(id=name)):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case _:
                continue
        match below:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield home + name, text
