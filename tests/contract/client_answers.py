"""Whether what the official client made of an answer is what its models say.

Its models are lenient: a text may arrive as a number and nobody notices before Home Assistant stumbles over it. So the
types are checked here, as they are declared. And the sources of tests are read for what they call and fill in.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aiohasupervisor import SupervisorClient
from attrs import frozen


def checked[T](answer: T) -> T:
    """The answer, once every value in it is of the type that its model declares; fails the test otherwise."""
    wrong = [*_wrong(answer, type(answer), type(answer).__name__)]
    assert not wrong, wrong
    return answer


def _wrong(value: object, declared: Any, where: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if declared is Any:
        return
    if origin in {typing.Union, types.UnionType}:
        if all([*_wrong(value, one, where)] for one in arguments):
            yield f"{where} is {value!r}, no {declared}"
    elif isinstance(value, list) and declared in {list, origin}:
        for number, item in enumerate(value):
            yield from _wrong(item, arguments[0] if arguments else type(item), f"{where}[{number}]")
    elif isinstance(value, dict) and declared in {dict, origin}:
        key_type, value_type = arguments or (Any, Any)
        for key, item in value.items():
            yield from _wrong(key, key_type, f"the key {key!r} of {where}")
            yield from _wrong(item, value_type, f"{where}.{key}")
    elif dataclasses.is_dataclass(declared) and isinstance(value, typing.cast(type, declared)):
        hints = typing.get_type_hints(declared)
        for field in dataclasses.fields(declared):
            yield from _wrong(getattr(value, field.name), hints[field.name], f"{where}.{field.name}")
    elif not _is(value, origin or declared):
        yield f"{where} is {value!r}, no {declared}"


def _is(value: object, declared: Any) -> bool:
    if declared is None:
        return value is None
    if declared is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, declared) and not (declared is int and isinstance(value, bool))


# --- what the client has, and what tests use of it --------------------------------------------------------------------


def methods_of(component: str | None) -> set[str]:
    """The calls of a component of the client, ``store.reload``; without one, those of the client itself."""
    owner: Any = SupervisorClient if component is None else _component(component)
    found = inspect.getmembers(owner, inspect.iscoroutinefunction)
    names = {name for name, _ in found if not name.startswith("_") and name != "close"}
    return names if component is None else {f"{component}.{name}" for name in names}


def _component(name: str) -> type:
    declared = typing.get_type_hints(vars(SupervisorClient)[name].fget)["return"]
    assert isinstance(declared, type)
    return declared


def parameters_of(method: str) -> Mapping[str, Any]:
    """What a call takes, with the declared types; ``self`` left out."""
    component, _, name = method.rpartition(".")
    function: Callable[..., Any] = getattr(_component(component) if component else SupervisorClient, name)
    hints = typing.get_type_hints(function)
    return {name: hints[name] for name in inspect.signature(function).parameters if name != "self"}


def models_taken(methods: Iterable[str]) -> set[type]:
    """The models that these calls take as an argument."""
    declared = {hint for method in methods for hint in parameters_of(method).values()}
    options = {one for hint in declared for one in (hint, *typing.get_args(hint))}
    return {one for one in options if isinstance(one, type) and dataclasses.is_dataclass(one)}


@frozen
class Used:
    """What some test files use of the client."""

    methods: set[str]
    keywords: Mapping[str, set[str]]
    """By the name of what is called, the keywords that it is ever called with."""

    @classmethod
    def by(cls, *files: Path) -> Used:
        """What these files use: calls such as ``client.store.reload(…)`` and ``as_addon.addons.list()``."""
        methods, keywords = set(), dict[str, set[str]]()
        for call in (node for file in files for node in ast.walk(ast.parse(file.read_text())) if _is_call(node)):
            path = ast.unparse(call.func).split(".")
            methods |= {".".join(path[-2:]), path[-1]} if len(path) > 1 else set()
            keywords.setdefault(path[-1], set()).update(word.arg for word in call.keywords if word.arg)
        return cls(methods, keywords)


def _is_call(node: ast.AST) -> typing.TypeGuard[ast.Call]:
    return isinstance(node, ast.Call)
