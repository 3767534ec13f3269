"""Services: typed objects that one plugin provides and others use.

A service is asked for by a typed key whose name carries the interface's version, such as
``WORLD_CLOCK = Service[WorldClock]("world_clock/1")``. Presence is not availability: a container engine that cannot
reach its daemon stays a service, and its calls raise :class:`~rooftree.errors.Unavailable`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Generic, Self, TypeVar, cast, get_args

from rooftree.errors import NotReady, Unavailable

T = TypeVar("T")
"""Invariant, which ``class Service[T]`` would not be: then ``provide`` would take any object for any key."""


class Service(Generic[T]):  # noqa: UP046  # see T
    """The key of a service: its name with the interface's version, and (as type argument) what it is.

    Make it with the type argument spelled out, ``Service[WorldClock]("world_clock/1")``: the kernel reads the type
    from there to fill parameters of routes, plans and steps.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __class_getitem__(cls, kind: Any) -> Any:
        """Refuse a class that is only named: no parameter would ever be of it."""
        if isinstance(kind, str):
            raise TypeError(f"Service[{kind!r}]: name the class itself, Service[{kind}], below where it is defined")
        return super().__class_getitem__(kind)  # type: ignore[misc]  # it is Generic's

    @property
    def kind(self) -> type[T]:
        """The interface; raises ``TypeError`` for a key made without its type argument."""
        original = getattr(self, "__orig_class__", None)
        if original is None:
            raise TypeError(f"write Service[TheInterface]({self.name!r}): the type argument is missing")
        return cast("type[T]", get_args(original)[0])

    def __repr__(self) -> str:
        return f"Service({self.name!r})"


class ServiceDirectory:
    """Who provides what just now."""

    def __init__(self) -> None:
        self._keys: dict[Any, Service[Any]] = {}
        self._provided: dict[str, object] = {}
        self._owners: dict[str, str] = {}
        self._plugins: dict[str, object] = {}
        self._own: tuple[object, ...] = ()

    def beside(self, own: object) -> Self:
        """The same services for the functions of one plugin, whose parameters of its own class are filled with it."""
        return self._with(own)

    def beside_running(self, module: str) -> Self:
        """The same services for the functions of a module: parameters of the class of a plugin of the same package are
        filled with it, while it runs."""
        package = _package(module)
        return self._with(*(own for own in self._plugins.values() if _package(type(own).__module__) == package))

    def _with(self, *own: object) -> Self:
        view = copy.copy(self)
        view._own = own
        return view

    def run(self, plugin: object, owner: str) -> None:
        """Note that the plugin of that name is set up, until :meth:`withdraw`."""
        self._plugins[owner] = plugin

    def declare(self, key: Service[Any], owner: str) -> None:
        """Note that ``owner`` will provide ``key``; two owners of one service are an error (``ValueError``)."""
        other = self._owners.setdefault(key.name, owner)
        if other != owner:
            raise ValueError(f"the service {key.name} is already provided by plugin {other}")
        self._keys[key.kind] = key

    def withdraw(self, owner: str) -> None:
        """Forget everything ``owner`` declared and provided, and that it runs."""
        self._plugins.pop(owner, None)
        for name in [name for name, other in self._owners.items() if other == owner]:
            del self._owners[name]
            self._provided.pop(name, None)

    def take_back(self, key: Service[Any]) -> None:
        """The service is there no longer; whose it is stays known."""
        self._provided.pop(key.name, None)

    def provide(self, key: Service[Any], value: object, owner: str) -> None:
        """Make ``value`` available under ``key``."""
        self.declare(key, owner)
        self._provided[key.name] = value

    def get[T](self, key: Service[T]) -> T:
        """The service; raises :class:`Unavailable` when no running plugin provides it."""
        provided = self._provided.get(key.name)
        if provided is None:
            owner = self._owners.get(key.name)
            if owner is not None:
                raise NotReady(f"The service {key.name} is not ready: plugin {owner} has not started it")
            raise Unavailable(f"No enabled plugin provides the service {key.name}")
        return cast("T", provided)

    def find[T](self, key: Service[T]) -> T | None:
        """The service, or ``None`` when nobody provides it now: for optional use, asked at each use."""
        return cast("T | None", self._provided.get(key.name))

    def get_by_kind(self, kind: Any) -> Any:
        """The service whose interface is ``kind``; raises :class:`Unavailable` when nobody provides it."""
        for own in self._own:
            if kind in type(own).__mro__[:-1]:
                return own
        key = self._keys.get(kind)
        if key is None:
            raise Unavailable(f"No enabled plugin provides {getattr(kind, '__name__', kind)}")
        return self.get(key)

    def key_for(self, kind: object) -> Service[Any] | None:
        """The key whose interface is ``kind``, if any plugin declared one."""
        return self._keys.get(kind)

    def owner(self, name: str) -> str | None:
        """The plugin that declared the service called ``name``."""
        return self._owners.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._provided)


def _package(module: str) -> str:
    return module.partition(".")[0]


SERVICES = Service[ServiceDirectory]("services/1")
"""All of them: for a library whose steps find the service that they are about by what they are given."""
