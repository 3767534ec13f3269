"""The form that clients draw for an add-on's options, made from their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NotRequired, TypedDict

from rooftree_store.options import Devices, NoDevices
from rooftree_store.options_schema import Element, Kind, ListOf, MapOf, OptionsSchema, Scalar

type FieldType = Literal["string", "integer", "float", "boolean", "select", "schema"]
"""What is drawn: a line of text, a number, a switch, a choice, or a form within the form."""
type TextFormat = Literal["password", "email", "url"]
"""What is written in a line of text."""


class FormField(TypedDict):
    """A field of the form."""

    name: str
    type: FieldType
    required: NotRequired[Literal[True]]
    optional: NotRequired[Literal[True]]
    multiple: NotRequired[bool]
    """Whether it is a list of such values."""
    format: NotRequired[TextFormat]
    lengthMin: NotRequired[float]
    """The shortest text, or the smallest number."""
    lengthMax: NotRequired[float]
    options: NotRequired[list[str]]
    """What there is to choose from."""
    schema: NotRequired[list[FormField]]
    """The fields of the form within the form."""


_TYPES: Final[Mapping[Kind, FieldType]] = {
    Kind.STR: "string",
    Kind.MATCH: "string",
    Kind.PASSWORD: "string",
    Kind.EMAIL: "string",
    Kind.URL: "string",
    Kind.INT: "integer",
    Kind.PORT: "integer",
    Kind.FLOAT: "float",
    Kind.BOOL: "boolean",
    Kind.LIST: "select",
    Kind.DEVICE: "select",
}
_FORMATS: Final[Mapping[Kind, TextFormat]] = {Kind.PASSWORD: "password", Kind.EMAIL: "email", Kind.URL: "url"}


def ui_schema(schema: OptionsSchema | None, devices: Devices | None = None) -> list[FormField] | None:
    """The fields of the form, or ``None`` for ``schema: false``."""
    return None if schema is None else _fields(schema.root, devices or NoDevices())


def _fields(element: MapOf, devices: Devices) -> list[FormField]:
    return [_field(name, inner, devices) for name, inner in element.fields.items()]


def _field(name: str, element: Element, devices: Devices, *, multiple: bool = False) -> FormField:
    match element:
        case ListOf():
            return _field(name, element.element, devices, multiple=True)
        case MapOf():
            fields = _fields(element, devices)
            return {"name": name, "type": "schema", "optional": True, "multiple": multiple, "schema": fields}
        case Scalar():
            return _scalar(name, element, devices, multiple=multiple)


def _scalar(name: str, element: Scalar, devices: Devices, *, multiple: bool) -> FormField:
    field: FormField = {"name": name, "type": _TYPES[element.kind]}
    if multiple:
        field["multiple"] = True
    if element.optional:
        field["optional"] = True
    else:
        field["required"] = True
    if element.kind in _FORMATS:
        field["format"] = _FORMATS[element.kind]
    if element.low is not None:
        field["lengthMin"] = element.low
    if element.high is not None:
        field["lengthMax"] = element.high
    if element.kind is Kind.LIST:
        field["options"] = list(element.choices)
    elif element.kind is Kind.DEVICE:
        field["options"] = [device.by_id or device.path for device in devices.of_subsystem(element.subsystem)]
    return field
