"""The type of arguments and options that name something, of ours or of the daemon's."""

from __future__ import annotations

from typing import Any, Final, override

import click


class _Name(click.ParamType[str]):
    name = "text"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text.strip():  # as from a variable of the shell that is not set
            self.fail("it is empty, and has to name something", param, ctx)
        return text


NAME: Final = _Name()
"""A name that is there: an empty one is refused with the argument that it stands for."""
