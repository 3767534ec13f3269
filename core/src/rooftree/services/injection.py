"""Filling a function's parameters from its signature.

Routes, plans and steps are plain functions: a parameter whose type is the interface of a service receives that
service. What else a parameter may mean is the caller's affair; this module only tells services from the rest and
resolves them at each call, so that a service that comes or goes is noticed there and then.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, get_type_hints
from weakref import WeakKeyDictionary

from attrs import define, field, frozen

from rooftree.services.directory import ServiceDirectory


@frozen
class Parameter:
    """One parameter of a function: its name, resolved type (with ``Annotated``) and default."""

    name: str
    kind: Any
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty


@define
class _Signature:
    """What a function's signature says: working it out is most of what binding a route costs, and a plugin that is
    started again, or a step that is run again, has the same functions."""

    hints: dict[str, Any]
    parameters: dict[int, tuple[Parameter, ...]] = field(factory=dict)
    """By how many are left out."""


_signatures: WeakKeyDictionary[Callable[..., Any], _Signature] = WeakKeyDictionary()


def _signature(function: Callable[..., Any]) -> _Signature:
    known = _signatures.get(function)
    if known is None:
        known = _signatures[function] = _Signature(get_type_hints(function, include_extras=True))
    return known


def type_hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    """The types of a function's parameters, and of its answer as ``return``, with ``Annotated``."""
    return _signature(function).hints


def parameters(function: Callable[..., Any], skip: int = 0) -> tuple[Parameter, ...]:
    """The parameters of ``function`` but the first ``skip``; raises ``TypeError`` where one has no type."""
    if isinstance(function, MethodType):  # made anew each time that it is asked for, and so of no use as a key
        return parameters(function.__func__, skip + 1)
    known = _signature(function)
    injected = known.parameters.get(skip)
    if injected is None:
        wanted = list(inspect.signature(function).parameters.values())[skip:]
        untyped = next((parameter.name for parameter in wanted if parameter.name not in known.hints), None)
        if untyped is not None:
            raise TypeError(f"{function.__qualname__}: parameter {untyped} needs a type")
        injected = tuple(
            Parameter(parameter.name, known.hints[parameter.name], parameter.default) for parameter in wanted
        )
        known.parameters[skip] = injected
    return injected


class Injector:
    """Resolves the service parameters of one function."""

    def __init__(self, directory: ServiceDirectory, wanted: Mapping[str, Any]) -> None:
        for name, kind in wanted.items():
            if not isinstance(kind, type):
                raise TypeError(f"parameter {name}: {kind!r} is no service interface")
        self._directory = directory
        self._wanted = tuple(wanted.items())

    def resolve(self) -> dict[str, Any]:
        """The services by parameter name; raises ``Unavailable`` for the first that nobody provides."""
        return {name: self._directory.get_by_kind(kind) for name, kind in self._wanted}


def is_service(directory: ServiceDirectory, kind: Any) -> bool:
    """Whether some plugin declared a service with this interface."""
    try:
        return directory.key_for(kind) is not None
    except TypeError:  # unhashable: no interface
        return False
