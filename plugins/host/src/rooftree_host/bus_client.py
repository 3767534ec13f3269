"""One connection to the bus: calls and their answers, and the rules by which signals come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog
from dbus_fast import Message, MessageType
from dbus_fast import Variant as WireVariant
from dbus_fast.aio import MessageBus

from rooftree.interfaces.bus import BusMethod, BusObject, BusRefused, BusUnavailable, Variant

log = structlog.get_logger(__name__)

MATCH_S: Final = 5.0
"""Seconds that the bus may take for a rule."""
BUS: Final = BusObject("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_ADD_MATCH = BusMethod("AddMatch", "s")
_REMOVE_MATCH = BusMethod("RemoveMatch", "s")
ERROR_INVALID_ARGUMENTS: Final = "org.freedesktop.DBus.Error.InvalidArgs"
"""The name of the error for what the bus has no words for."""
_LIMITS_EXCEEDED: Final = "org.freedesktop.DBus.Error.LimitsExceeded"
_GONE = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.TimedOut",
    "org.freedesktop.DBus.Error.Timeout",
    "org.freedesktop.DBus.Error.Spawn.",
    "org.freedesktop.systemd1.UnitMasked",
    "org.freedesktop.systemd1.NoSuchUnit",
    "org.freedesktop.systemd1.LoadFailed",
    "org.freedesktop.systemd1.ShuttingDown",
)
"""Errors of the bus itself that say that a service is not there. systemd names the unit that it could not start."""

type Answered = Callable[[Message | None], None]
"""Is told the answer to a call; ``None`` where the connection was lost before there was one."""


class BusClient:
    """From its beginning to its loss."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is."""
        self.owners: dict[str, str] = {}
        """The unique names of services by their well-known ones."""
        self.activatable: frozenset[str] = frozenset()
        self.watcher: asyncio.Task[None] | None = None
        self.waiting: dict[int, Answered] = {}
        """Who is to be told an answer, by the number of the call."""
        self._rules: dict[str, int] = {}
        """Match rules, and how many want each."""

    async def ended(self) -> None:
        """Wait for its loss; who no longer wants to may give up, and the others still hear of it."""
        await asyncio.shield(self.lost)

    def end(self) -> None:
        """It is lost, and so is every answer that somebody waits for."""
        self.lost.set_result(None)
        waiting, self.waiting = self.waiting, {}
        for answered in waiting.values():
            answered(None)

    # --- calls -------------------------------------------------------------------------------------------------------

    async def call(self, at: BusObject, method: BusMethod, arguments: list[Any], timeout_s: float) -> Message:
        """Call a method, and wait for its answer; raises :class:`BusUnavailable`, :class:`BusRefused`."""
        answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        serial = self.ask(at, method, arguments, partial(_tell, answer))
        try:
            async with asyncio.timeout(timeout_s):
                reply = await answer
        except TimeoutError:
            raise silent(at, method, timeout_s) from None
        finally:
            self.waiting.pop(serial, None)
        return self.understood(at, method, reply)

    def ask(self, at: BusObject, method: BusMethod, arguments: list[Any], answered: Answered) -> int:
        """Send a call; its number. Raises :class:`BusRefused` for arguments that cannot be sent, and
        :class:`BusUnavailable` where the connection is lost already.

        Not by the library's own call: one that is given up would stay in its books for as long as the connection, and
        one whose connection breaks would never end.
        """
        if self.lost.done():
            raise _lost(at, method)
        serial = self.bus.next_serial()
        self.waiting[serial] = answered
        try:
            _send(self.bus, at, method, [_wired(argument) for argument in arguments], serial)
        except BaseException:
            del self.waiting[serial]
            raise
        return serial

    def answered(self, message: Message) -> None:
        """An answer has come, which nobody may wait for any more."""
        answered = self.waiting.pop(message.reply_serial, None)
        if answered is not None:
            answered(message)

    def understood(self, at: BusObject, method: BusMethod, reply: Message | None) -> Message:
        """An answer that is one; raises :class:`BusUnavailable`, :class:`BusRefused`."""
        if reply is None:
            raise _lost(at, method)
        if reply.message_type is MessageType.ERROR:
            if reply.error_name == _LIMITS_EXCEEDED and reply.sender == BUS.service and at.service != BUS.service:
                log.warning("too_many_calls_unanswered", service=at.service)
                if not self.lost.done():  # for as long as which they count, also those that were given up
                    self.bus.disconnect()
                raise BusUnavailable(
                    f"The system bus takes no more calls, for too many of ours wait for an answer; {at.service} can be "
                    "asked again in a moment, on a new connection"
                )
            raise _refusal(at, method, reply)
        if method.returns is not None and reply.signature != method.returns:
            raise BusUnavailable(
                f"{at.service} answers {method.name} with {reply.signature or 'nothing'}, where "
                f"{method.returns or 'nothing'} is expected: its version is not one that Rooftree knows"
            )
        return reply

    # --- signals -----------------------------------------------------------------------------------------------------

    def is_matched(self, rule: str) -> bool:
        """Whether what the rule says comes already."""
        return rule in self._rules

    async def match(self, rule: str) -> None:
        """Let signals come that are like that, until as many have said that they no longer want them."""
        wanted = self._rules.get(rule, 0)
        self._rules[rule] = wanted + 1
        if not wanted:
            try:
                await self.call(BUS, _ADD_MATCH, [rule], MATCH_S)
            except BusRefused:  # given up is another matter: what was sent is added, whoever no longer waits for it
                self._rules.pop(rule, None)
                raise

    async def no_longer_match(self, rule: str) -> None:
        """One who wanted such signals does so no longer."""
        wanted = self._rules.get(rule, 0)
        if wanted > 1:
            self._rules[rule] = wanted - 1
            return
        self._rules.pop(rule, None)
        if wanted:
            with suppress(BusUnavailable, BusRefused):
                await self.call(BUS, _REMOVE_MATCH, [rule], MATCH_S)


def silent(at: BusObject, method: BusMethod, waited_s: float) -> BusUnavailable:
    """The error for a call without an answer."""
    return BusUnavailable(
        f"{at.service} did not answer {method.name} within {waited_s:g} s; look at it with systemctl status"
    )


def _lost(at: BusObject, method: BusMethod) -> BusUnavailable:
    return BusUnavailable(f"The system bus went away while {at.service} was asked for {method.name}")


def _send(bus: MessageBus, at: BusObject, method: BusMethod, arguments: list[Any], serial: int) -> None:
    try:
        message = Message(
            destination=at.service,
            path=at.path,
            interface=at.interface,
            member=method.name,
            signature=method.takes,
            body=arguments,
            serial=serial,
        )
        if not bus.connected:  # any more: the number of its closed socket may be another's by now
            return
        try:
            bus.send(message).add_done_callback(asyncio.Future.exception)
        except OSError:  # the connection breaks at this moment: whoever waits is told by its loss
            sending = getattr(getattr(bus, "_writer", None), "fut", None)  # send() had no time to give it to us
            if sending is not None and sending.done():
                sending.exception()  # else it is called an error that nobody looked at
    except (ValueError, TypeError) as error:  # a NUL in a text, a path that is none
        raise BusRefused(
            f"{method.name} of {at.service} cannot be called like that: {error}", ERROR_INVALID_ARGUMENTS
        ) from None


def _tell(answer: asyncio.Future[Message | None], reply: Message | None) -> None:
    if not answer.done():  # whoever waited may have given up in this very moment
        answer.set_result(reply)


def _wired(value: Any) -> Any:
    """A value with the library's variants in it for ours."""
    if isinstance(value, Variant):
        return WireVariant(value.signature, _wired(value.value))
    if isinstance(value, Mapping):
        return {key: _wired(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_wired(item) for item in value]
    return value


def kept_variants(value: Any) -> Any:
    """A value with our variants in it for the library's: the opposite of what is done to what is sent."""
    if isinstance(value, WireVariant):
        return Variant(value.signature, kept_variants(value.value))
    if isinstance(value, Mapping):
        return {key: kept_variants(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kept_variants(item) for item in value]
    return value


def _refusal(at: BusObject, method: BusMethod, reply: Message) -> BusUnavailable | BusRefused:
    name = reply.error_name or "an error without a name"
    said = reply.body[0] if reply.body and isinstance(reply.body[0], str) else name
    # systemd's own refusals come from systemd; from anybody else these are the bus's, who asked it to start somebody.
    from_bus = reply.sender == BUS.service or at.service != "org.freedesktop.systemd1"
    if from_bus and name.startswith(_GONE):
        return BusUnavailable(f"{at.service} is not there: {said}")
    return BusRefused(f"{at.service} refused {method.name}: {said}", name)
