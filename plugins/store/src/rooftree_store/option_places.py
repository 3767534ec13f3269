"""Where in an add-on's options something stands that concerns more than the add-on: devices, and references to secrets.

Places are written as the check of options writes them: ``logins[0].password``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rooftree_store.options_schema import Element, Kind, ListOf, MapOf, OptionsSchema, Scalar
from rooftree_store.readers import join

SECRET_PREFIX: Final = "!secret "  # noqa: S105  # the word that refers to one


def device_options(schema: OptionsSchema, options: Mapping[str, Any]) -> list[str]:
    """The values of ``device`` options, in their order; what does not fit the schema is left out."""
    return list(_devices(schema.root, options))


def _devices(element: Element, value: Any) -> Iterator[str]:
    match element:
        case Scalar():
            if element.kind is Kind.DEVICE and isinstance(value, str):
                yield value
        case ListOf():
            for item in value if isinstance(value, list | tuple) else ():
                yield from _devices(element.element, item)
        case MapOf():
            for name, inner in element.fields.items() if isinstance(value, Mapping) else ():
                yield from _devices(inner, value.get(name))


def secret_references(options: Mapping[str, Any]) -> dict[str, str]:
    """The references to secrets in options, ``!secret name``, by place. However deep they are: without recursion."""
    references: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("", options)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend((join(place, str(name)), inner) for name, inner in value.items())
        elif isinstance(value, list | tuple):
            waiting.extend((f"{place}[{index}]", item) for index, item in enumerate(value))
        elif isinstance(value, str) and value.startswith(SECRET_PREFIX):
            references[place] = value
    return references
