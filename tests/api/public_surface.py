"""What plugin authors may rely on, as text: every public name with its signature, fields and methods.

``make plugin-api`` writes it to ``tests/api/public-surface.txt``, the reviewed state; ``test_public_surface.py`` fails
while the two differ. The policy is in ``docs/plugin-api.md``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

import rooftree
import rooftree.commands
import rooftree.interfaces
import rooftree.testing

GOLDEN = Path(__file__).with_name("public-surface.txt")
IS_STATED = "testing.fixtures testing.containers testing.container_engine_contract"
"""Modules beside ``rooftree.testing`` that its documentation names: what they define themselves is public."""


def surface() -> str:
    """The whole of it, a paragraph for each module."""
    return "\n".join(line for module in _modules() for line in (f"# {module.__name__}", *_module(module), ""))


def _modules() -> Iterator[ModuleType]:
    yield rooftree
    yield rooftree.commands
    for found in sorted(pkgutil.iter_modules(rooftree.interfaces.__path__), key=lambda found: found.name):
        yield importlib.import_module(f"rooftree.interfaces.{found.name}")
    yield rooftree.testing
    for name in IS_STATED.split():
        yield importlib.import_module(f"rooftree.{name}")


def _module(module: ModuleType) -> Iterator[str]:
    for name in _names(module):
        yield from _described(name, getattr(module, name))


def _names(module: ModuleType) -> list[str]:
    stated = getattr(module, "__all__", None)
    if stated is not None:
        return sorted(stated)
    own = (name for name, value in vars(module).items() if _home(value, module) == module.__name__)
    return sorted(name for name in own if not name.startswith("_"))


def _home(value: object, module: ModuleType) -> str | None:
    """Where a value was defined; constants have no home but the module that they are in."""
    if inspect.ismodule(value):
        return None
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) and not isinstance(value, rooftree.Service) else module.__name__


def _described(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (f"    {line}" for line in _members(value))
    elif inspect.isroutine(value):
        yield f"def {name}{_signature(value)}"
    elif isinstance(value, rooftree.Service):
        yield f"{name}: Service[{value.kind.__name__}] = {value.name!r}"
    else:
        yield f"{name}: {type(value).__name__}"


def _members(cls: type) -> Iterator[str]:
    if issubclass(cls, Enum):
        yield from (f"{member.name} = {member.value!r}" for member in cls)
    elif attrs.has(cls):
        yield from (f"{field.name}: {_type(_written(cls, field.name))}{_default(field)}" for field in attrs.fields(cls))
    elif "__init__" in vars(cls) and cls not in _made_by_the_kernel():
        yield f"__init__{_signature(vars(cls)['__init__'])}"
    annotated = vars(cls).get("__annotations__", {})
    fields = {field.name for field in attrs.fields(cls)} if attrs.has(cls) else set()
    for name, kind in sorted(annotated.items()):
        if name not in fields and not name.startswith("_"):
            yield f"{name}: {_type(kind)}"
    for name, value in sorted(vars(cls).items()):
        if not name.startswith("_") and name not in fields and name not in annotated:
            yield from _member(name, value)


@functools.cache
def _made_by_the_kernel() -> frozenset[type]:
    """Classes that authors are given and never make: how they are made is no promise."""
    services = (getattr(rooftree, name) for name in rooftree.__all__)
    kinds = {service.kind for service in services if isinstance(service, rooftree.Service)}
    return frozenset({*kinds, rooftree.Kernel, rooftree.Collection, rooftree.Run, rooftree.testing.System})


def _member(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, property | functools.cached_property):
        getter = value.fget if isinstance(value, property) else value.func
        assert getter is not None
        yield f"{name}: {_type(inspect.signature(getter).return_annotation)}"
    elif isinstance(value, classmethod | staticmethod):
        yield f"{type(value).__name__} {name}{_signature(value.__func__)}"
    elif inspect.isfunction(value):
        yield f"{'async ' if inspect.iscoroutinefunction(value) else ''}def {name}{_signature(value)}"
    elif not inspect.ismemberdescriptor(value) and not isinstance(value, Enum) and not inspect.isclass(value):
        yield f"{name} = …"


def _signature(function: Any) -> str:
    found = inspect.signature(function)
    parameters = [
        parameter.replace(default=_Shown(parameter.default)) if parameter.default is not parameter.empty else parameter
        for parameter in found.parameters.values()
    ]
    return str(found.replace(parameters=parameters)).replace("'", "")


class _Shown:
    """A default without what differs from run to run: addresses of objects."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        plain = isinstance(self._value, str | int | float | bool | tuple | None)
        return repr(self._value) if plain else f"<{type(self._value).__name__}>"


def _written(cls: type, field: str) -> object:
    """A field's type as its class spells it. What attrs keeps of it is another once anybody had it resolved."""
    return next(
        vars(base)["__annotations__"][field] for base in cls.__mro__ if field in vars(base).get("__annotations__", {})
    )


def _type(kind: object) -> str:
    return kind if isinstance(kind, str) else inspect.formatannotation(kind)


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return ""
    made = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]  # a class, which attrs types as function
    return " = …" if made else f" = {_Shown(field.default)!r}"


if __name__ == "__main__":
    GOLDEN.write_text(surface())
    print(f"review `git diff {GOLDEN.relative_to(Path.cwd())}`; docs/plugin-api.md says what a change asks for")
