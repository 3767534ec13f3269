"""From types to JSON Schema (2020-12), as :mod:`rooftree.model.conversion` reads and writes them.

What has a name becomes a component: classes, enumerations, parsed strings, and aliases made with ``type``. A class is
described twice where it is both taken and given: a body may leave out what has a default, an answer has every field.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeAliasType,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs

from rooftree import ParsedString, Secret, Unset, unstructure
from rooftree_supervisor.api_documents.source_texts import SourceTexts

type Schema = dict[str, Any]
"""A JSON Schema."""

_PRIMITIVES: Mapping[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string"},
    Path: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    type(None): {"type": "null"},
    Secret: {"type": "string", "format": "password", "writeOnly": True},
}
_LISTS = (list, Sequence, MutableSequence)
_SETS = (set, frozenset, AbstractSet, MutableSet)
_MAPPINGS = (dict, Mapping, MutableMapping)


class Way(enum.Enum):
    """Which way a value travels."""

    TAKEN = "taken"
    GIVEN = "given"


class Schemas:
    """Makes schemas, and collects the components that they refer to."""

    def __init__(self, texts: SourceTexts) -> None:
        self.components: dict[str, Schema] = {}
        self.untyped: list[str] = []
        """Where anything at all may stand, without a name that says why."""
        self._texts = texts
        self._names: dict[tuple[Any, Way | None], str] = {}
        self._path: list[str] = []

    def of(self, kind: Any, way: Way) -> Schema:
        origin, arguments = get_origin(kind) or kind, get_args(kind)
        if kind in _PRIMITIVES:
            return dict(_PRIMITIVES[kind])
        if isinstance(kind, TypeAliasType):
            return self._alias(kind, way)
        if origin in {Annotated, Required, NotRequired}:
            return self.of(arguments[0], way)
        if origin in {Union, UnionType}:
            return self._union(arguments, way)
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in _LISTS:
            return {"type": "array", "items": self._inner("[]", arguments[0] if arguments else Any, way)}
        if origin in _SETS:
            return {"type": "array", "items": self._inner("[]", arguments[0] if arguments else Any, way),
                    "uniqueItems": True}  # fmt: skip
        if origin is tuple:
            return self._tuple(arguments or (Any, ...), way)
        if origin in _MAPPINGS:
            key, value = arguments or (str, Any)
            return self._mapping(key, value, way)
        if isinstance(kind, type):
            return self._class(kind, way)
        return self._anything()

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Say where we are, for :attr:`untyped`."""
        self._path.append(name)
        try:
            yield
        finally:
            self._path.pop()

    def _inner(self, name: str, kind: Any, way: Way) -> Schema:
        with self.inside(name):
            return self.of(kind, way)

    def _anything(self) -> Schema:
        self.untyped.append(".".join(self._path))
        return {}

    def _union(self, members: Sequence[Any], way: Way) -> Schema:
        kinds = [member for member in members if member not in {Unset, type(None)}]
        schemas = [self.of(kind, way) for kind in kinds]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        return or_null(schema) if type(None) in members else schema

    def _tuple(self, arguments: Sequence[Any], way: Way) -> Schema:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": self._inner("[]", arguments[0], way)}
        items = [self._inner(f"[{number}]", kind, way) for number, kind in enumerate(arguments)]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def _mapping(self, key: Any, value: Any, way: Way) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self._inner("{}", value, way)}
        if key not in {str, Any}:
            schema["propertyNames"] = self._inner("{key}", key, way)
        return schema

    # --- what has a name ----------------------------------------------------------------------------------------------

    def _class(self, kind: type, way: Way) -> Schema:
        if issubclass(kind, enum.Enum):
            return self._component(kind, None, lambda: {"enum": [member.value for member in kind]})
        if issubclass(kind, ParsedString):
            return self._component(kind, None, lambda: _parsed(kind))
        if attrs.has(kind):
            return self._component(kind, way, lambda: self._attrs(kind, way))
        if is_typeddict(kind):
            return self._component(kind, way, lambda: self._typed_dict(kind, way))
        if issubclass(kind, str):
            return {"type": "string"}
        return self._anything()

    def _alias(self, alias: TypeAliasType, way: Way) -> Schema:
        def made() -> Schema:
            known = len(self.untyped)
            schema = self.of(alias.__value__, way)
            del self.untyped[known:]  # it has a name, which says what it is
            return schema

        return self._component(alias, way if _has_fields(alias.__value__) else None, made)

    def _component(self, kind: Any, way: Way | None, made: Any) -> Schema:
        """A reference to the component of ``kind``, which is made at the first one."""
        name = self._names.get((kind, way))
        if name is None:
            name = self._names[kind, way] = self._free_name(kind, way)
            self.components[name] = {}  # what refers to itself finds it
            text = self._text(kind)
            with self.inside(name):
                self.components[name] |= ({"description": text} if text else {}) | made()
        return {"$ref": f"#/components/schemas/{name}"}

    def _text(self, kind: Any) -> str:
        if isinstance(kind, TypeAliasType):
            return self._texts.of_name(str(kind.__module__), kind.__name__)
        return self._texts.of_class(kind)

    def _free_name(self, kind: Any, way: Way | None) -> str:
        """``addons.AddonInfo``: who defines it, and what it is called there; the same whatever else is installed."""
        package = kind.__module__.partition(".")[0]
        owner = "kernel" if package == "rooftree" else package.removeprefix("rooftree_")
        name = f"{owner}.{kind.__name__}"
        if way is Way.TAKEN and (kind, Way.GIVEN) in self._names:
            name += "Body"
        return name if name not in self.components else f"{kind.__module__}.{kind.__name__}"

    def _attrs(self, kind: type, way: Way) -> Schema:
        hints = get_type_hints(kind, include_extras=True)
        properties: Schema = {}
        required = []
        for field in attrs.fields(kind):
            if way is Way.TAKEN and not field.init:
                continue
            hint = hints[field.name]
            schema = self._inner(field.alias, hint, way) | _limits(field.validator)
            if not field.repr and schema.get("type") in ("string", ["string", "null"]):
                schema["format"] = "password"
            if text := self._texts.of_field(kind, field.name):
                schema["description"] = text
            if way is Way.TAKEN and field.default is attrs.NOTHING:
                required.append(field.alias)
            elif way is Way.TAKEN:
                schema |= _default(field.default)
            elif Unset not in get_args(hint):
                required.append(field.alias)
            properties[field.alias] = schema
        return _object(properties, required) | ({"additionalProperties": False} if way is Way.TAKEN else {})

    def _typed_dict(self, kind: Any, way: Way) -> Schema:
        hints = get_type_hints(kind, include_extras=True)
        properties = {}
        for key, hint in hints.items():
            text = self._texts.of_field(kind, key)
            properties[key] = self._inner(key, hint, way) | ({"description": text} if text else {})
        # Where annotations are strings, Python counts every key among the required ones, and so does the converter.
        required = [key for key in hints if key in kind.__required_keys__]
        if way is Way.GIVEN:
            required = [key for key in required if get_origin(hints[key]) is not NotRequired]
        return _object(properties, required)


def _has_fields(kind: Any) -> bool:
    """Whether a class is in it that is described twice."""
    return (
        attrs.has(get_origin(kind) or kind) or is_typeddict(kind) or any(_has_fields(inner) for inner in get_args(kind))
    )


def or_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    if set(schema) == {"enum"}:
        return {"enum": [*schema["enum"], None]}
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Schema, required: Sequence[str]) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return schema | ({"required": list(required)} if required else {})


def _parsed(kind: type[ParsedString]) -> Schema:
    pattern = getattr(kind, "pattern", None)
    return {"type": "string"} | ({"pattern": f"^(?:{pattern})$"} if isinstance(pattern, str) else {})


def _default(default: Any) -> Schema:
    """The value that stands for an absent field, where there is one and it can be told."""
    if isinstance(default, Unset) or hasattr(default, "takes_self"):  # the latter is what attrs makes of a factory
        return {}
    return {"default": unstructure(default)}


_BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


def _limits(validator: Any) -> Schema:
    """What a validator says of a value: those of attrs, and any that has a ``low`` and a ``high``."""
    inner = getattr(validator, "validator", None)
    if inner is not None:  # optional(…)
        return _limits(inner)
    limits: Schema = {}
    for part in getattr(validator, "_validators", ()):  # and_(…)
        limits |= _limits(part)
    if hasattr(validator, "low") and hasattr(validator, "high"):
        limits |= {"minimum": validator.low, "maximum": validator.high}
    if hasattr(validator, "bound"):
        limits[_BOUNDS[validator.compare_op]] = validator.bound
    if hasattr(validator, "max_length"):
        limits["maxLength"] = validator.max_length
    if hasattr(validator, "min_length"):
        limits["minLength"] = validator.min_length
    return limits
