"""Filling a function's parameters from its signature.

Routes, plans and steps are plain functions: a parameter whose type is the interface of a service receives that
service. What else a parameter may mean is the caller's affair; this module only tells services from the rest and
resolves them at each call, so that a service that comes or goes is noticed there and then.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from attrs import frozen

from rooftree.services import ServiceDirectory


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


def parameters(function: Callable[..., Any], skip: int = 0) -> tuple[Parameter, ...]:
    """The parameters of ``function`` but the first ``skip``; raises ``TypeError`` where one has no type."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if parameter.name not in hints:
            raise TypeError(f"{function.__qualname__}: parameter {parameter.name} needs a type")
        found.append(Parameter(parameter.name, hints[parameter.name], parameter.default))
    return tuple(found)


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
