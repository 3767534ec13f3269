"""What the daemon leaves out of its imports, and that nobody misses it: in a process that begins as it does."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

DAEMON = """
import asyncio, json, sys
import rooftree.daemon
"""
FIELDS = """
from attrs import field, fields, frozen

@frozen
class Lamp:
    colour: str
    count: int = field(default=0)

@frozen
class Room:
    lamp: Lamp
    colour: str = ""

@frozen
class Hall(Room):
    doors: int = 1

print(json.dumps({
    "names": [field.name for field in fields(Hall)],
    "by name": [fields(Lamp).colour.name, fields(Lamp).count.name, fields(Hall).lamp.name, fields(Hall).doors.default],
    "unknown": hasattr(fields(Hall), "windows"),
    "shared": type(fields(Room)) is type(fields(Hall)),
    "text": repr(Hall(Lamp("red"))),
}))
"""
METHODS = """
from attrs import define, field, frozen

@frozen
class Lamp:
    colour: str
    serial: int = field(default=0, eq=False, repr=False)

@frozen
class Room(Lamp):
    name: str = ""

    def __repr__(self):
        return "room of " + super().__repr__()

@frozen
class Hall(Room):
    doors: int = 1

    def __eq__(self, other):
        return super().__eq__(other)

@define
class Switch:
    on: bool = False

@define(str=True)
class Plug:
    watts: int = field(default=0, eq=abs)

@frozen(slots=False)
class Fan:
    speed: int = 0

@frozen(cache_hash=True)
class Meter:
    count: int = 0

@frozen
class Named(str):
    colour: str = ""

class Own(Lamp):
    __slots__ = ()

def tried(action):
    try:
        return action()
    except TypeError as error:
        return str(error)

print(json.dumps([
    type(vars(Lamp)["__eq__"]).__name__,
    Lamp("red") != Lamp("red", 7), Named("red") != Named("red"), Lamp("red") == Lamp("blue"),
    type(vars(Lamp)["__eq__"]).__name__,
    Lamp("red") == Room("red"), Room("red") == Room("red", 1), Room("red", 0, "a") == Room("red"),
    Hall("red") == Hall("red"), Own("red") == Own("red"), Own("red") == Lamp("red"),
    [repr(thing) for thing in (Lamp("red"), Room("red"), Hall("red"), Switch(), Fan(), Meter(1), Own("red"))],
    str(Plug(3)), Plug(3) == Plug(-3),
    len({Lamp("red"), Lamp("red", 7), Room("red"), Own("red")}), len({Room("red"), Room("red")}),
    len({Meter(1), Meter(1)}), len({Fan(1), Fan(1)}),
    tried(lambda: hash(Switch())), tried(lambda: hash(Hall("red"))), Switch() == Switch(on=True),
    Lamp.__eq__(Lamp("red"), 3) is NotImplemented, Lamp.__hash__(Lamp("red")) == hash(Lamp("red", 3)),
]))
"""
LIBRARIES = """
print(json.dumps({
    "maps": open("/proc/self/maps").read(),
    "rich": "rich" in sys.modules,
    "environment": [name for name in __import__("os").environ if "FROZENLIST" in name],
}))
"""
CONNECT = """
import ssl
import aiohttp

async def main(*ports):
    told = {"trusted before": aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509_ca"]}
    async with aiohttp.ClientSession() as session:
        for port in ports:
            try:
                async with session.get(f"https://localhost:{port}/") as answer:
                    told[port] = answer.status
            except aiohttp.ClientConnectorCertificateError:
                told[port] = "not trusted"
        async with session.get(f"https://localhost:{ports[-1]}/", ssl=False) as answer:
            told["unverified"] = answer.status
    told["another"] = ssl.create_default_context().cert_store_stats()["x509_ca"]
    print(json.dumps(told))

asyncio.run(main(*sys.argv[1:]))
"""


async def said(script: str, *arguments: object, first: str = DAEMON, **environment: str) -> Any:
    """What a process prints that imported the daemon first."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", first + script, *map(str, arguments),
        stdout=subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip
    printed, _ = await child.communicate()
    assert child.returncode == 0
    return json.loads(printed)


def certificate(file: Path) -> Path:
    """One of localhost's that vouches for itself, with its key."""
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=localhost -days 1"
    names = ["-addext", "subjectAltName=DNS:localhost", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    subprocess.run([*command.split(), *names, "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@asynccontextmanager
async def served_with(file: Path) -> AsyncIterator[int]:
    """A server that shows this certificate, by its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(file)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_fields_of_classes_are_found_by_name_though_all_share_a_class() -> None:
    told = await said(FIELDS)

    assert told == {
        "names": ["lamp", "colour", "doors"],
        "by name": ["colour", "count", "lamp", 1],
        "unknown": False,
        "shared": True,
        "text": "Hall(lamp=Lamp(colour='red', count=0), colour='', doors=1)",
    }


async def test_methods_that_attrs_writes_late_do_what_those_do_that_it_writes_at_once() -> None:
    (before, *late), (own_before, *at_once) = await asyncio.gather(
        said(METHODS), said(METHODS, first="import json, sys\n")
    )

    assert (before, own_before) == ("_LateMethod", "function")
    assert late == at_once


async def test_another_attrs_than_the_one_that_is_known_is_left_as_it_is() -> None:
    newer = "import importlib.metadata\nimportlib.metadata.version = lambda name: '27.1.0'\n"

    (before, *_), fields = await asyncio.gather(said(METHODS, first=newer + DAEMON), said(FIELDS, first=newer + DAEMON))

    assert before == "function"
    assert not fields["shared"]


async def test_libraries_that_only_cost_memory_are_not_there() -> None:
    told = await said(LIBRARIES)

    assert "libstdc++" not in told["maps"]
    assert "libcrypto" in told["maps"]  # what is there is seen
    assert not told["rich"]
    assert not told["environment"]


async def test_roots_are_read_with_the_first_connection_and_only_they_are_trusted(tmp_path: Path) -> None:
    known, stranger = await asyncio.gather(
        *(asyncio.to_thread(certificate, tmp_path / f"{name}.pem") for name in ("known", "stranger"))
    )
    async with served_with(known) as trusted_port, served_with(stranger) as other_port:
        told = await said(CONNECT, trusted_port, other_port, SSL_CERT_FILE=f"{known}.crt", SSL_CERT_DIR=str(tmp_path))

    assert told["trusted before"] == 0
    assert told[str(trusted_port)] == 200
    assert told[str(other_port)] == "not trusted"
    assert told["unverified"] == 200
    assert told["another"] == 1
