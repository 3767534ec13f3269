"""Rooftree: the microkernel. Everything a plugin author needs is importable from here.

The names are listed once, for type checkers and at run time alike, in ``__init__.pyi``. They are loaded on first use,
so that ``rooftree --help`` does not pay for a web server. The manual's pages come with it: ``rooftree docs``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from rooftree.source_texts import tell_whole


@cache
def _homes() -> dict[str, str]:
    """The room of each name."""
    from pathlib import Path  # noqa: PLC0415  # not for who imports a module of ours alone

    stub = Path(__file__).with_suffix(".pyi").read_text("utf-8").splitlines()  # ours: beside this file
    lines = [line.split() for line in stub if line.startswith("from ")]
    return {name: room for _, room, _, name, *_ in lines}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(_homes())
    home = _homes().get(name)
    if home is None:
        raise AttributeError(f"module 'rooftree' has no attribute {name!r}")
    value = tell_whole(getattr(import_module(home), name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), "__all__", *_homes()})
