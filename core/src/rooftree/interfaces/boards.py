"""Boards: what a driver for the lights and switches of one make of machine has to be.

A driver is a class in a distribution of its own, named in the entry-point group ``rooftree.boards`` under the board's
name. Once installed its settings can be read and changed under ``/os/boards/<name>``; they are kept, and written to the
board again when Rooftree starts::

    @frozen
    class Leds:
        power: bool = True

    class Acme(Board):
        name = "acme"
        settings = Leds

        async def read(self) -> Leds: ...
        async def write(self, leds: Leds) -> None: ...

A board whose switches are reached over the system bus takes the bus in :meth:`Board.connect`, and names the services
that it needs there: whenever one of them comes, the board is asked whether it is present, and gets its settings.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Protocol

import attrs

from rooftree.interfaces.hardware import Device
from rooftree.services import Service
from rooftree.source_texts import tell_whole

GROUP: Final = "rooftree.boards"
"""The entry-point group."""


class BoardServices(Protocol):
    """What other domains offer to a board (ask at each use: they come and go), and what the operator set for it."""

    def service[T](self, key: Service[T]) -> T:
        """A service; raises :class:`~rooftree.errors.Unavailable` when nobody provides it."""
        ...

    def find[T](self, key: Service[T]) -> T | None:
        """A service, or ``None``."""
        ...

    def settings[S](self, kind: type[S]) -> S:
        """The operator's settings for this board, ``[boards.<name>]`` in ``rooftree.toml``, as the class that it
        declared as ``operator_settings``."""
        ...


@tell_whole
class Board:
    """Base of every board driver. Constructing one has no side effects. Each verb may take ten seconds.

    What a verb raises is answered to the client: a :class:`~rooftree.errors.RooftreeError` as it is, anything else as
    503, naming the board.
    """

    name: ClassVar[str]
    """What ``/os/boards/…`` and the entry point call it: lower-case letters, digits and dashes."""
    settings: ClassVar[type[Any] | None] = None
    """The attrs class of its settings, each with a default; ``None`` for a board that has none."""
    operator_settings: ClassVar[type[Any] | None] = None
    """A frozen attrs class with defaults for what the operator may set in ``rooftree.toml``, ``[boards.<name>]``, such
    as which pin a light is at; :meth:`BoardServices.settings` reads it. A driver whose table is wrong is left out."""
    bus_services: ClassVar[tuple[str, ...]] = ()
    """Services on the system bus that its verbs need, such as ``io.hass.os``. When one of them comes, :meth:`present`
    is asked again, and what is kept is written if the board has anything else."""
    needs_reboot: ClassVar[bool] = False
    """Whether changed settings are in effect only after the next reboot."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse, when the driver is imported, a class that could only fail later (``TypeError``)."""
        super().__init_subclass__(**options)
        if cls.settings is None:
            return
        if not attrs.has(cls.settings):
            raise TypeError(f"{cls.__name__}.settings must be an attrs class")
        lacking = [verb for verb in ("read", "write") if getattr(cls, verb) is getattr(Board, verb)]
        if lacking:
            raise TypeError(f"{cls.__name__} has settings, so it needs {' and '.join(lacking)}")

    async def connect(self, services: BoardServices, /) -> None:
        """Called once, before anything else, with what other domains offer: keep it, or leave it."""

    async def present(self) -> bool:
        """Whether this host is that board; a driver that was installed by hand need not ask."""
        return True

    async def read(self) -> Any:
        """The settings as the board has them now, as an object of its settings class."""
        raise NotImplementedError

    async def write(self, settings: Any, /) -> None:
        """Set the board to these settings, an object of its settings class."""
        raise NotImplementedError

    async def hardware_added(self, device: Device) -> None:
        """A device appeared."""

    async def hardware_removed(self, device: Device) -> None:
        """A device vanished."""

    async def stop(self) -> None:
        """Rooftree stops; must be safe twice."""
