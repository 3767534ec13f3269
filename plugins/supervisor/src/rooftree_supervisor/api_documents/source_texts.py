"""What classes say of themselves, as Markdown: docstrings, and the strings below their fields.

The strings below fields are read from the source when a document is made, in its thread, and nothing of them is kept.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from rooftree.source_texts import texts_of

_ROLE = re.compile(r":[a-z:]+:`~?([^`]+)`")
_NAMED = re.compile(r"\s*:param (\w+): (.*?)(?=\s*:param |\n\n|\Z)", re.DOTALL)


class SourceTexts:
    """The texts of classes and aliases; each module's source is read once."""

    def __init__(self) -> None:
        self._modules: dict[str, Mapping[str, str]] = {}

    def of_class(self, kind: type) -> str:
        """What a class says of itself; nothing where it only inherits that, or attrs wrote it."""
        text = vars(kind).get("__doc__")
        return as_markdown(text) if isinstance(text, str) else ""

    def of_field(self, kind: type, name: str) -> str:
        """The string below a field, where the class or one that it derives from has it."""
        for home in kind.__mro__:
            text = self._of_module(home.__module__).get(f"{home.__qualname__}.{name}")
            if text is not None:
                return as_markdown(text)
        return ""

    def of_name(self, module: str, name: str) -> str:
        """The string below a name that a module defines."""
        return as_markdown(self._of_module(module).get(name, ""))

    def _of_module(self, name: str) -> Mapping[str, str]:
        if name not in self._modules:
            self._modules[name] = texts_of(name)
        return self._modules[name]


def as_markdown(text: str) -> str:
    """A docstring of ours (reStructuredText, of which we use little) for whoever reads the document."""
    plain = _ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", inspect.cleandoc(text))
    return plain.replace("``", "`").strip()


def of_function(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What a function says of itself, and what it says of its parameters."""
    text = inspect.cleandoc(function.__doc__ or "")
    named = {name: as_markdown(" ".join(words.split())) for name, words in _NAMED.findall(text)}
    return as_markdown(_NAMED.sub("", text)), named
