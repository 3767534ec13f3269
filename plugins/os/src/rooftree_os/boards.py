"""The boards of this host: their drivers, what is kept of their settings, and what they are told.

A driver is somebody else's code beside a host's switches: each call has a deadline, and what goes wrong in one is
said as a problem of that board and harms nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Final

import structlog
from attrs import field, frozen

from rooftree import (
    Collection,
    Driver,
    Invalid,
    Kernel,
    Problem,
    RooftreeError,
    Service,
    Unavailable,
    document,
    structure,
    unstructure,
)
from rooftree.interfaces.boards import GROUP, Board
from rooftree_os.models import BoardOptions
from rooftree_os.operating_system import OperatingSystem

log = structlog.get_logger(__name__)

DEADLINE_S: Final = 10.0
"""Seconds that a driver's verb may take."""


@document("os.board_settings", version=1)
@frozen
class BoardSettings:
    """The settings that somebody gave a board, to be written to it again at the next start; keyed by its name."""

    values: BoardOptions = field(factory=dict)


class BoardNotInUse(Invalid):
    """This host is another board, or none that anybody knows. ``extra_fields``: ``board``."""

    error_key = "os_board_not_in_use_error"


@frozen
class ServicesOfBoard:
    """See :class:`~rooftree.interfaces.boards.BoardServices`."""

    _kernel: Kernel
    _driver: Driver[Board]

    def service[T](self, key: Service[T]) -> T:
        return self._kernel.service(key)

    def find[T](self, key: Service[T]) -> T | None:
        return self._kernel.find(key)

    def settings[S](self, kind: type[S]) -> S:
        return self._driver.settings(kind)


class Boards:
    """The boards whose drivers are installed and say that this host is theirs."""

    def __init__(
        self,
        kernel: Kernel,
        system: OperatingSystem,
        drivers: Mapping[str, Driver[Board]],
        kept: Collection[BoardSettings],
    ) -> None:
        self._kernel = kernel
        self._system = system
        self._drivers = drivers
        self._kept = kept
        self._connected: dict[str, Board] = {}
        self._boards: dict[str, Board] = {}
        self._changing = asyncio.Lock()
        """Held while a board and what is kept for it are brought in line."""

    @classmethod
    async def load(cls, kernel: Kernel, system: OperatingSystem) -> Boards:
        """Load the drivers, and bring each board to the settings that it was given."""
        kept = await kernel.collection(BoardSettings)
        boards = cls(kernel, system, await kernel.drivers(GROUP, Board, kept=kept), kept)
        kernel.defer(boards.stop)
        for name, driver in boards._drivers.items():
            await boards._construct(name, driver)
        return boards

    async def _construct(self, name: str, driver: Driver[Board]) -> None:
        try:
            board = driver.kind()
            await _answered(name, lambda: board.connect(ServicesOfBoard(self._kernel, driver)))
        except Exception as error:
            self._failed(name, error)
            return
        self._connected[name] = board
        await self._take_in(name)

    async def _take_in(self, name: str) -> None:
        board = self._connected[name]
        try:
            async with self._changing:
                if await _answered(name, board.present):
                    self._boards[name] = board
                    await self._bring_back(name)
                    self._drivers[name].in_use()
                else:
                    self._boards.pop(name, None)
                    self._drivers[name].idle("this machine is no such board")
        except Exception as error:
            self._failed(name, error)
        else:
            self._kernel.problems.clear("board_failed", "os", name)

    @property
    def needed_services(self) -> AbstractSet[str]:
        """Services on the system bus that boards need."""
        return {service for board in self._connected.values() for service in board.bus_services}

    async def came(self, services: AbstractSet[str]) -> None:
        """Services came to the system bus: look again at the boards that need one of them."""
        for name, board in list(self._connected.items()):
            if not services.isdisjoint(board.bus_services):
                await self._take_in(name)

    async def _bring_back(self, name: str) -> None:
        """Write what is kept to the board, if it has anything else: it may have forgotten it with its power."""
        if name in self._kept and await self.read(name) != self._kept[name].values:
            await self.write(name, self._kept[name].values)

    def _failed(self, name: str, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if not isinstance(error, RooftreeError):
            log.error("board_failed", board=name, exc_info=error)
        self._drivers[name].failed(reason)
        self._kernel.problems.report(Problem("board_failed", "os", name, f"Board {name}: {reason}"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._boards)

    def refuse_unknown(self, name: str) -> None:
        """Raise :class:`BoardNotInUse` for a board that this host is not."""
        if name not in self._boards:
            there = f"there is {', '.join(sorted(self._boards))}" if self._boards else "no board driver is in use"
            unknown = "" if name in self._drivers else ", and no driver of that name is loaded (see rooftree plugins)"
            raise BoardNotInUse(f"This machine is no board {name}; {there}{unknown}", board=name)

    async def read(self, name: str) -> BoardOptions:
        """A board's settings now; empty for one that has none, and for this host's own where no driver knows it.
        Raises :class:`BoardNotInUse`, :class:`Unavailable`."""
        if name not in self._boards:
            home_assistant_os = await self._system.home_assistant_os_if_known()
            if home_assistant_os is not None and home_assistant_os.board == name:
                if name not in self._connected:
                    return {}
                raise self._unreachable(name)
        self.refuse_unknown(name)
        board = self._boards[name]
        if board.settings is None:
            return {}
        return await _answered(name, partial(_read, board, board.settings))

    def _unreachable(self, name: str) -> Unavailable:
        needed = ", ".join(sorted(self._connected[name].bus_services)) or "what its driver needs"
        return Unavailable(f"Board {name} can't be reached: {needed} is not there")

    async def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Set a board to these settings, which are all of them; raises :class:`Unavailable`."""
        settings = self._structured(name, values)
        board = self._boards[name]
        await _answered(name, lambda: board.write(settings))

    async def merged(self, name: str, changes: Mapping[str, Any]) -> BoardOptions:
        """All settings as they would be after some are changed; raises :class:`Invalid` for what is none."""
        return dict(unstructure(self._structured(name, {**await self.read(name), **changes})))

    def _structured(self, name: str, values: Mapping[str, Any]) -> Any:
        self.refuse_unknown(name)
        kind = self._boards[name].settings
        if kind is None:
            raise Invalid(f"Board {name} has no settings")
        return structure(values, kind)

    def kept(self, name: str) -> BoardOptions | None:
        """What is kept for a board, if anything is."""
        board = self._kept.get(name)
        return board.values if board is not None else None

    def needs_reboot(self, name: str) -> bool:
        """Whether changed settings of a board are in effect only after a reboot."""
        self.refuse_unknown(name)
        return self._boards[name].needs_reboot

    async def change(self, name: str, values: Mapping[str, Any], keep: Mapping[str, Any] | None) -> None:
        """Set a board to ``values``, and have ``keep`` written to it when it has forgotten them.

        For steps, whose job began while the board was in use: where its driver does not see it now, as before
        the bus has come at a start, that is :class:`Unavailable`, and the step waits.
        """
        if name in self._connected and name not in self._boards:
            raise self._unreachable(name)
        async with self._changing:
            await self.write(name, values)
            await self._keep(name, keep)

    async def _keep(self, name: str, values: Mapping[str, Any] | None) -> None:
        if values is not None:
            await self._kernel.commit(self._kept.put(name, BoardSettings(dict(values))))
        else:
            await self._kernel.commit(self._kept.delete(name))

    async def tell(self, tell: Callable[[Board], Awaitable[None]]) -> None:
        """Tell every board something, side by side."""
        await asyncio.gather(*(self._told(name, partial(tell, board)) for name, board in self._boards.items()))

    async def _told(self, name: str, tell: Callable[[], Awaitable[None]]) -> None:
        try:
            await _answered(name, tell)
        except Exception as error:
            self._failed(name, error)
        else:
            self._drivers[name].in_use()
            self._kernel.problems.clear("board_failed", "os", name)

    async def stop(self) -> None:
        """Let the drivers give back what they took."""
        self._boards.clear()
        while self._connected:
            name, board = self._connected.popitem()
            try:
                await _answered(name, board.stop)
            except Exception as error:
                log.warning("board_stop_failed", board=name, reason=str(error))


BOARDS = Service[Boards]("os.boards/1")


async def _read(board: Board, kind: type[Any]) -> BoardOptions:
    """What a board's driver reads; raises ``TypeError`` where these are no settings of it."""
    settings = await board.read()
    if not isinstance(settings, kind):
        raise TypeError(f"its driver read {type(settings).__name__}, and {kind.__name__} is what its settings are")
    values = dict(unstructure(settings))
    try:
        structure(values, kind)
    except Invalid as error:
        raise TypeError(f"its driver read what is none of its settings: {error.message}") from None
    return values


async def _answered[T](name: str, verb: Callable[[], Awaitable[T]]) -> T:
    """What a driver's verb answers; raises :class:`Unavailable` for what it did not expect itself, and for silence."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await verb()
    except RooftreeError:
        raise
    except TimeoutError:
        raise Unavailable(f"Board {name} did not answer within {DEADLINE_S:.0f} s") from None
    except OSError as error:  # what the board's files and devices say, and no fault of the driver
        raise Unavailable(f"Board {name} does not answer: {error}") from error
    except Exception as error:
        log.warning("board_driver_raised", board=name, exc_info=error)
        raise Unavailable(f"Board {name} does not answer: {str(error) or type(error).__name__}") from error
