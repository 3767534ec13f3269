"""Stand-ins for services of the system bus, as a process: ``python -m tests.bus.stand_ins ADDRESS [NAME …]``.

Orders come as JSON lines on standard input, each is answered by one on standard output. What the services have is in
:mod:`tests.bus.machine`; another machine is a module of its own, run in place of this one, such as
:mod:`tests.bus.os_machine`. The real services are met in ``tests/host``.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import frozen
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from tests.bus.machine import ERRORS, FOLLOWED_BY, MACHINE, METHODS, SETTERS

PROPERTIES = "org.freedesktop.DBus.Properties"


class Refused(Exception):
    """A behaviour answers with an error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text


type Behaviour = Callable[[Service, str, list[Any]], tuple[str, list[Any]]]
"""What a method of an object at a path does with its arguments: changes its service, and says signature and answer, or
raises :class:`Refused`."""


@frozen
class Make:
    """A make of machine: what its services have, and how they behave."""

    objects: Mapping[str, Any]
    methods: Mapping[tuple[str, str], tuple[str, list[Any]]]
    behaviours: Mapping[tuple[str, str], Behaviour] = {}
    memory: Mapping[str, Mapping[str, Any]] = {}
    """What behaviours go by at first, by service."""


USUAL = Make(MACHINE, METHODS)


class Service:
    """One service with its objects."""

    def __init__(self, name: str, objects: dict[str, dict[str, dict[str, Variant]]], make: Make = USUAL) -> None:
        self.name = name
        self.objects = objects
        self.make = make
        self.memory: dict[str, Any] = copy.deepcopy(dict(make.memory.get(name, {})))
        """What behaviours go by; a test may set it."""
        self.calls: list[tuple[str, list[Any]]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.errors: dict[str, tuple[str, str]] = {}
        """What is answered instead, by method; writing a property is ``Set`` with its name behind."""
        self.once: set[str] = set()
        """Those of them that fail once."""
        self.subscribers: set[str | None] = set()
        """Who has called systemd's Subscribe, which it allows each client once."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.bus: MessageBus | None = None

    async def appear(self, address: str) -> None:
        """Come to the bus."""
        self.bus = await MessageBus(bus_address=address).connect()
        self.bus.add_message_handler(self._received)
        await self.bus.request_name(self.name)

    async def vanish(self) -> None:
        """Leave it."""
        if self.bus is not None:
            self.bus.disconnect()
            await self.bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast has no types there

    def _received(self, message: Message) -> bool:
        if message.message_type is not MessageType.METHOD_CALL or message.interface == "org.freedesktop.DBus.Peer":
            return False
        task = asyncio.get_running_loop().create_task(self._serve(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _serve(self, message: Message) -> None:
        assert self.bus is not None
        arguments = [each.value if isinstance(each, Variant) else each for each in message.body]
        self.calls.append((message.member or "", arguments))
        await self.answers.wait()
        answer = self._answer(message)
        await self.bus.send(answer)
        key = (message.interface or "", message.member or "")
        if key in FOLLOWED_BY and answer.message_type is MessageType.METHOD_RETURN:
            name, signature, arguments = FOLLOWED_BY[key]
            self.signal(message.path or "", key[0], name, signature, arguments(*message.body))

    def _answer(self, message: Message) -> Message:
        member, path = message.member or "", message.path or ""
        for failing in (member, f"{member} {message.body[1]}" if member == "Set" else ""):
            if failing in self.errors:
                error = self.errors.pop(failing) if failing in self.once else self.errors[failing]
                return Message.new_error(message, *error)
        if message.interface == "org.freedesktop.DBus.ObjectManager":
            below = {each: interfaces for each, interfaces in self.objects.items() if each != path}
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [below])
        if message.interface == PROPERTIES:
            interface, *rest = message.body
            if interface not in self.objects.get(path, {}):
                text = f"No interface {interface} at {path}"
                return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownInterface", text)
            if member == "GetAll":
                return Message.new_method_return(message, "a{sv}", [self.objects[path][interface]])
            name, value = rest
            self.change(path, interface, {name: value})
            return Message.new_method_return(message)
        behaviour = self.make.behaviours.get((message.interface or "", member))
        if behaviour is not None:
            try:
                return Message.new_method_return(message, *behaviour(self, path, message.body))
            except Refused as refused:
                return Message.new_error(message, refused.name, refused.text)
        if member == "Subscribe":
            if message.sender in self.subscribers:
                text = "Client is already subscribed."
                return Message.new_error(message, "org.freedesktop.systemd1.AlreadySubscribed", text)
            self.subscribers.add(message.sender)
        known = self.make.methods.get((message.interface or "", member))
        if known is None:
            text = f"No method {member} of {message.interface}"
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", text)
        for argument, error in ERRORS.get((message.interface or "", member), {}).items():
            if argument in message.body:
                return Message.new_error(message, *error)
        setter = SETTERS.get((message.interface or "", member))
        if setter is not None:
            interface, name, signature = setter
            self.change(path, interface, {name: Variant(signature, message.body[0])})
        signature, answer = known
        return Message.new_method_return(
            message, signature, answer(*message.body) if callable(answer) else copy.deepcopy(answer)
        )

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on behind an answer."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def change(self, path: str, interface: str, values: dict[str, Variant], *, told: bool = True) -> None:
        """Set properties."""
        self.objects[path][interface].update(values)
        if told:
            self.signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, values, []])

    def signal(self, path: str, interface: str, name: str, signature: str, arguments: list[Any]) -> None:
        """Send a signal."""
        if self.bus is not None and self.bus.connected:
            self.bus.send(Message.new_signal(path, interface, name, signature, arguments))


class Machine:
    """All of them."""

    def __init__(self, address: str, names: list[str], make: Make) -> None:
        self._address = address
        chosen = names or list(make.objects)
        self.services = {name: Service(name, copy.deepcopy(make.objects[name]), make) for name in chosen}

    async def obey(self, order: dict[str, Any]) -> Any:
        """Do what the test says."""
        match order:
            case {"do": "nothing"}:
                return None
            case {
                "do": "change",
                "service": name,
                "path": path,
                "interface": interface,
                "values": values,
                "told": told,
            }:
                service = self.services[name]
                now = service.objects[path][interface]
                wired = {key: Variant(now[key].signature, value) for key, value in values.items()}
                service.change(path, interface, wired, told=told)
            case {"do": "put", "service": name, "path": path, "interface": interface, "values": values}:
                wired = {key: Variant(signature, value) for key, (signature, value) in values.items()}
                self.services[name].objects.setdefault(path, {}).setdefault(interface, {}).update(wired)
            case {"do": "remove", "service": name, "path": path}:
                del self.services[name].objects[path]
            case {"do": "calls"}:
                calls = [call for service in self.services.values() for call in service.calls]
                for service in self.services.values():
                    service.calls.clear()
                return calls
            case {"do": "hang", "service": name}:
                self.services[name].answers.clear()
            case {"do": "answer", "service": name}:
                self.services[name].answers.set()
            case {"do": "remember", "service": name, **memory}:
                self.services[name].memory.update(memory)
            case {"do": "fail", "service": name, "method": method, "error": error, "text": text, **more}:
                self.services[name].errors[method] = (error, text)
                if more.get("once"):
                    self.services[name].once.add(method)
            case {"do": "signal", "service": name, "path": path, "interface": interface, "name": signal,
                  "signature": signature, "arguments": arguments}:  # fmt: skip
                self.services[name].signal(path, interface, signal, signature, arguments)
            case {"do": "appear", "service": name}:
                await self.services[name].appear(self._address)
            case {"do": "vanish", "service": name}:
                await self.services[name].vanish()
            case {"do": "storm", "service": name, "times": times}:
                bus = self.services[name].bus
                assert bus is not None
                for _ in range(times):
                    await bus.release_name(name)
                    await bus.request_name(name)
            case _:
                raise ValueError(f"no such order: {order}")
        return None


async def main(make: Make = USUAL) -> None:
    """Serve until standard input ends."""
    _, address, *names = sys.argv
    machine = Machine(address, names, make)
    for service in machine.services.values():
        await service.appear(address)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            answer = {"ok": True, "value": await machine.obey(json.loads(line))}
        except Exception as error:  # the test shows it
            answer = {"ok": False, "error": repr(error)}
        print(json.dumps(answer, default=repr), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
