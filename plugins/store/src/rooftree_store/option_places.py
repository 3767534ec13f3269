"""Where in an add-on's options something stands that concerns more than the add-on: devices, and references to secrets.

Places are written as the check of options writes them: ``logins[0].password``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rooftree_store.options_schema import Element, Kind, ListOf, MapOf, OptionsSchema, Scalar
from rooftree_store.readers import join

SECRET_PREFIX: Final = "!secret "  # noqa: S105  # the word that refers to one
LONGEST_PLACE: Final = 1000
"""Characters of a place in which a reference counts."""


def device_options(schema: OptionsSchema, options: Mapping[str, Any]) -> list[str]:
    """The values of ``device`` options, in their order; what does not fit the schema is left out."""
    return list(_devices(schema.root, options))


def _devices(element: Element, value: Any) -> Iterator[str]:
    match element:
        case Scalar():
            if element.kind is Kind.DEVICE and isinstance(value, str) and value:
                yield value
        case ListOf():
            for item in value if isinstance(value, list | tuple) else ():
                yield from _devices(element.element, item)
        case MapOf():
            for name, inner in element.fields.items() if isinstance(value, Mapping) else ():
                yield from _devices(inner, value.get(name))


def device_places(schema: OptionsSchema) -> list[str]:
    """The places of the options that take a device, such as ``sticks[].port``."""
    return list(_device_places(schema.root, ""))


def _device_places(element: Element, place: str) -> Iterator[str]:
    match element:
        case Scalar():
            if element.kind is Kind.DEVICE:
                yield place
        case ListOf():
            yield from _device_places(element.element, f"{place}[]")
        case MapOf():
            for name, inner in element.fields.items():
                yield from _device_places(inner, f"{place}.{name}" if place else name)


def secret_references(options: Mapping[str, Any]) -> dict[str, str]:
    """The references to secrets in options, ``!secret name``, by place. However deep they are: without recursion.

    Places are made for references and what may hold some, and not for longer ones than :data:`LONGEST_PLACE`: whoever
    writes options must not choose what a copy of a name for each of thousands of values costs. A reference that is left
    out is granted to nobody.
    """
    references: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("", options)]
    while waiting:
        place, value = waiting.pop()
        is_mapping = isinstance(value, Mapping)
        for step, inner in value.items() if is_mapping else enumerate(value):
            is_reference = isinstance(inner, str) and inner.startswith(SECRET_PREFIX)
            if not is_reference and not isinstance(inner, Mapping | list | tuple):
                continue
            name = str(step)
            if len(place) + len(name) > LONGEST_PLACE:
                continue
            where = join(place, name) if is_mapping else f"{place}[{name}]"
            if is_reference:
                references[where] = inner
            else:
                waiting.append((where, inner))
    return references
