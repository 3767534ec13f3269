"""A hostile add-on on the wire that all of them share, with raw frames: what it could take over without the rules, and
can't with them.

Each attack is run three times: with the rules taken away, where it must work (else it would show nothing), with the
guard alone, which is all there is in an add-on's first milliseconds, and with the ports bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest
from attrs import frozen

from rooftree.interfaces.containers import AddonNetwork, ContainerSpec
from rooftree_docker.api_socket import ApiSocket
from rooftree_docker.engine import DockerEngine
from rooftree_docker.network import NetworkSettings
from rooftree_docker.wire_rules import GUARD, PORTS
from tests.attacks import frames
from tests.e2e.docker.conftest import MakeDriver, random_subnet
from tests.rig.engine import Engine
from tests.rig.namespaces import in_namespace_of
from tests.rig.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("wire")]

type MakeSpec = Callable[..., ContainerSpec]
type Rules = Literal["none", "guard", "ports"]

SECRET = b"the-bearer-of-this-is-a-manager"
TIMES = 20
"""How often an attacker repeats itself."""
PORT = 4711


@frozen
class Host:
    """A container on the network, as everybody on it sees it."""

    process: int
    mac: str
    address: str
    ipv6_address: str

    def raw(self) -> socket.socket:
        """A socket for frames, as NET_RAW gives it."""
        return frames.raw_socket(self.process)

    def datagrams(self) -> socket.socket:
        """A socket that takes datagrams on :data:`PORT`."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind(("", PORT))
            made.settimeout(0.5)
            return made

        return in_namespace_of(self.process, make)

    def tell(self, address: str, what: bytes = SECRET) -> None:
        """Send a datagram, as any program does."""
        sending = in_namespace_of(self.process, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with sending, contextlib.suppress(OSError):
            sending.sendto(what, (address, PORT))

    def fetch(self, address: str, token: bytes = SECRET) -> bytes:
        """Ask an HTTP server with a bearer token; the first bytes of the answer, none where nobody answers."""

        def make() -> socket.socket:
            made = socket.socket()
            made.settimeout(3)
            return made

        with in_namespace_of(self.process, make) as calling, contextlib.suppress(OSError):
            calling.connect((address, 80))
            calling.sendall(b"GET / HTTP/1.0\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
            return calling.recv(100)
        return b""


@frozen
class Network:
    """The network with its supervisor, an honest add-on, its neighbour, and a hostile one."""

    driver: DockerEngine
    engine: Engine
    described: AddonNetwork
    api: ApiSocket
    received: list[bytes]
    """What the supervisor was sent."""
    spec: MakeSpec
    prefix: str

    async def host(self, name: str, *, bound: bool, script: str = "sleep 600") -> Host:
        """A fresh container that runs."""
        await self.driver.create(self.spec(script, name=name))
        await self.driver.start(name)
        shown: Any = json.loads(self.engine.run("inspect", f"{self.prefix}{name}"))[0]
        endpoint = shown["NetworkSettings"]["Networks"][self.described.name]
        if bound:
            self.driver.wire.look_again()

            async def is_bound() -> bool:
                return shown["Id"] in self.driver.wire.bound

            await until(is_bound, within_s=5, what="the binding of the port")
        return Host(shown["State"]["Pid"], endpoint["MacAddress"], endpoint["IPAddress"], endpoint["GlobalIPv6Address"])


@contextlib.asynccontextmanager
async def network_with(
    rules: Rules, make_driver: MakeDriver, engine: Engine, spec: MakeSpec, prefix: str, *, ipv6: bool = False
) -> AsyncIterator[Network]:
    """A network of our own with the supervisor's socket on it, and as much protection as asked for."""
    driver = make_driver(network=NetworkSettings(subnet=random_subnet(), ipv6=ipv6))
    described = await driver.network()
    api = await driver.open_api_socket()
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, sock=api.socket)
    binding = asyncio.create_task(driver.wire.run()) if rules == "ports" else None
    if rules == "none":
        forget_rules(described.interface)
    try:
        yield Network(driver, engine, described, api, received, spec, prefix)
    finally:
        if binding is not None:
            binding.cancel()
            await asyncio.wait([binding])
        server.close()
        await api.close()
        await driver.wire.unguard(described.interface)


def forget_rules(interface: str) -> None:
    """Take away what keeps addresses where they are."""
    subprocess.run(["nft", "delete", "table", "bridge", GUARD + interface], check=True)
    for line in shown_by("bridge", "fdb", "show", "br", interface).splitlines():
        words = line.split()
        if "sticky" in words:
            subprocess.run(["bridge", "fdb", "del", words[0], "dev", words[2], "master"], check=True)


def shown_by(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(params=["none", "guard", "ports"])
def rules(request: pytest.FixtureRequest) -> Rules:
    """How much protection there is."""
    asked: Rules = request.param
    return asked


@pytest.fixture
async def network(
    rules: Rules, make_driver: MakeDriver, engine: Engine, spec: MakeSpec, prefix: str
) -> AsyncIterator[Network]:
    """The network, protected as the test is told to."""
    async with network_with(rules, make_driver, engine, spec, prefix) as network:
        yield network


@pytest.fixture
async def honest(network: Network, rules: Rules) -> Host:
    """An add-on with a token."""
    return await network.host("app_honest", bound=rules == "ports")


@pytest.fixture
async def neighbour(network: Network, rules: Rules) -> Host:
    """An add-on that the honest one talks to."""
    return await network.host("app_neighbour", bound=rules == "ports")


@pytest.fixture
async def hostile(network: Network, rules: Rules) -> Host:
    """An add-on that may send raw frames."""
    return await network.host("app_hostile", bound=rules == "ports")


def send(host: Host, *forged: bytes, times: int = TIMES) -> None:
    with host.raw() as sending:
        for _ in range(times):
            for frame in forged:
                sending.send(frame)
            time.sleep(0.002)


async def fetch(host: Host, address: str) -> bytes:
    return await asyncio.to_thread(host.fetch, address)


async def test_token_for_the_supervisor_goes_to_the_supervisor(
    network: Network, rules: Rules, honest: Host, hostile: Host
) -> None:
    supervisor = network.described.supervisor
    assert await fetch(honest, supervisor)
    shown_by("nsenter", f"--net=/proc/{hostile.process}/ns/net", "ip", "address", "add", supervisor, "dev", "eth0")
    with in_namespace_of(hostile.process, lambda: socket.create_server((supervisor, 80))) as listening:
        listening.settimeout(1)
        send(
            hostile, frames.arp(hostile.mac, supervisor), frames.arp(hostile.mac, supervisor, answer_to=honest.address)
        )
        asking = asyncio.create_task(fetch(honest, supervisor))
        taken = await asyncio.to_thread(accepted, listening)
        await asking

    assert (SECRET in taken) == (rules == "none")
    assert (len(network.received) == 2) == (rules != "none")


def accepted(listening: socket.socket) -> bytes:
    with contextlib.suppress(TimeoutError):
        connection, _ = listening.accept()
        with connection:
            return connection.recv(4096)
    return b""


async def test_address_of_a_neighbour_stays_where_it_is(
    rules: Rules, honest: Host, neighbour: Host, hostile: Host
) -> None:
    taken = {}
    guarded = other_guards()
    for tags in (0, 1, 2):  # a receiver takes tags of number 0 off, and reads what they hid
        shown_by("nsenter", f"--net=/proc/{honest.process}/ns/net", "ip", "neigh", "flush", "dev", "eth0")
        honest.tell(neighbour.address)
        await until_known(honest, neighbour.address)
        send(
            hostile,
            frames.arp(hostile.mac, neighbour.address, tags=tags),
            frames.arp(hostile.mac, neighbour.address, source=neighbour.mac, tags=tags),
            frames.arp(hostile.mac, neighbour.address, tags=tags, answer_to=honest.address),
        )
        taken[tags] = frames.believed_mac(honest.process, neighbour.address) == hostile.mac

    if rules == "none" and (guarded or other_guards()):
        del taken[2]  # where a kernel can't tell bridges apart, the guard of any of them drops a tag in a tag
    assert taken == dict.fromkeys(taken, rules == "none")


def other_guards() -> bool:
    """Whether another test's network is guarded on this host just now."""
    return GUARD in shown_by("nft", "list", "tables", "bridge")


async def until_known(host: Host, address: str) -> None:
    async def is_known() -> bool:
        return frames.believed_mac(host.process, address) is not None

    await until(is_known, within_s=5, what=f"the hardware address of {address}")


@pytest.mark.parametrize("whose", ["neighbour", "supervisor"])
async def test_frames_for_another_one_do_not_come_to_who_sends_as_that_one(
    network: Network, rules: Rules, honest: Host, neighbour: Host, hostile: Host, whose: str
) -> None:
    """The bridge learns from each frame where its sender is: one packet of whatever kind, in another one's name."""
    supervisor = network.described.supervisor
    await fetch(honest, supervisor)
    target = neighbour.address if whose == "neighbour" else supervisor
    honest.tell(target)
    await until_known(honest, target)
    victim = frames.believed_mac(honest.process, target)
    assert victim is not None

    with hostile.raw() as sniffing:
        before = network.api.interface
        for _ in range(TIMES):
            sniffing.send(frames.mac(hostile.mac) + frames.mac(victim) + b"\x88\xb5" + b"x" * 50)
            honest.tell(target)
            time.sleep(0.002)
        taken = frames.sees(sniffing, SECRET)

    assert network.api.interface == before
    protected = rules == "ports" or (rules == "guard" and whose == "supervisor")
    assert taken == (not protected)


async def test_packets_in_the_name_of_another_one_do_not_arrive(
    network: Network, rules: Rules, honest: Host, neighbour: Host, hostile: Host
) -> None:
    names = {
        "supervisor": (hostile.mac, network.described.supervisor),
        "gateway": (hostile.mac, network.described.gateway),
        "neighbour": (hostile.mac, neighbour.address),
        "neighbour, with its hardware address": (neighbour.mac, neighbour.address),
    }
    arrived = {}
    with honest.datagrams() as listening:
        for name, (mac, address) in names.items():
            send(hostile, frames.udp(mac, address, honest.mac, honest.address, PORT, name.encode()))
            arrived[name] = name.encode() in drained(listening)

    assert arrived == {
        name: rules == "none" or (rules == "guard" and "hardware" in name)  # whose port it is, the guard does not know
        for name in names
    }


def drained(listening: socket.socket) -> list[bytes]:
    """All datagrams that have come."""
    datagrams = []
    listening.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while True:
            datagrams.append(listening.recv(2000))
    return datagrams


async def test_host_is_not_told_where_an_add_on_is(network: Network, rules: Rules, honest: Host, hostile: Host) -> None:
    """What the host sends to an add-on: the answers of a published port, of Core, of the ingress."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.sendto(b"x", (honest.address, PORT))

    async def is_known() -> bool:
        return frames.believed_mac("self", honest.address) is not None

    await until(is_known, within_s=5, what="the host's knowledge")
    send(
        hostile,
        frames.arp(hostile.mac, honest.address),
        frames.arp(hostile.mac, honest.address, answer_to=network.described.gateway),
    )

    assert (frames.believed_mac("self", honest.address) == hostile.mac) == (rules == "none")


async def test_add_on_that_starts_under_a_flood_of_claims_keeps_to_the_supervisor(
    network: Network, rules: Rules, hostile: Host
) -> None:
    supervisor = network.described.supervisor
    script = f"while :; do timeout 1 wget -qO- http://{supervisor}/; usleep 100000; done"
    flood = asyncio.create_task(
        asyncio.to_thread(send, hostile, frames.arp(hostile.mac, supervisor, answer_to="255.255.255.255"), times=1500)
    )
    starting = await network.host("app_starting", bound=rules == "ports", script=script)
    await flood

    assert (frames.believed_mac(starting.process, supervisor) == hostile.mac) == (rules == "none")
    assert rules == "none" or network.received


async def test_honest_traffic_passes_from_the_first_moment(network: Network, rules: Rules, neighbour: Host) -> None:
    """A lost first frame would cost a second, after which it is sent again."""
    supervisor = network.described.supervisor
    script = f"wget -qO- http://{supervisor}/; wget -qO- http://{neighbour.address}:{PORT}/; sleep 600"
    address = ("", PORT)
    with in_namespace_of(neighbour.process, lambda: socket.create_server(address)) as listening:
        listening.settimeout(5)
        await network.driver.create(network.spec(script, name="app_starting"))
        waiting = asyncio.create_task(asyncio.to_thread(accepted, listening))
        await network.driver.start("app_starting")
        began = time.monotonic()
        request = await waiting
        took_s = time.monotonic() - began

    assert request.startswith(b"GET /")
    assert len(network.received) == 1
    assert took_s < 0.9, f"the first packets took {took_s:.2f} s"


async def test_container_that_is_started_again_is_bound_anew_and_its_neighbours_hear_it(
    make_driver: MakeDriver, engine: Engine, spec: MakeSpec, prefix: str
) -> None:
    async with network_with("ports", make_driver, engine, spec, prefix) as network:
        neighbour = await network.host("app_neighbour", bound=True)
        for _ in range(3):
            again = await network.host("app_again", bound=True)
            assert await fetch(again, network.described.supervisor)
            with neighbour.datagrams() as listening:
                again.tell(neighbour.address)
                assert listening.recv(100) == SECRET
            await network.driver.stop("app_again", 0)


@pytest.mark.parametrize("rules", ["none", "ports"])
async def test_ipv6_neighbours_and_routers_are_who_they_say(
    rules: Rules, make_driver: MakeDriver, engine: Engine, spec: MakeSpec, prefix: str
) -> None:
    async with network_with(rules, make_driver, engine, spec, prefix, ipv6=True) as network:
        bound = rules == "ports"
        honest, neighbour, hostile = [
            await network.host(f"app_{name}", bound=bound) for name in ("honest", "neighbour", "hostile")
        ]
        assert neighbour.ipv6_address and reaches(honest, neighbour)
        own = hostile.ipv6_address
        send(hostile, frames.neighbour_advertisement(hostile.mac, neighbour.ipv6_address, source=own))
        believed = ipv6_neighbours(honest)
        send(hostile, frames.router_advertisement(hostile.mac, source="fe80::bad"))

        assert (believed[neighbour.ipv6_address] == hostile.mac) == (rules == "none")
        assert ("fe80::bad" in ipv6_neighbours(honest)) == (rules == "none")
        assert rules == "none" or reaches(honest, neighbour)


def reaches(host: Host, other: Host) -> bool:
    """Whether an IPv6 connection is answered, by a refusal."""
    calling = in_namespace_of(host.process, lambda: socket.socket(socket.AF_INET6))
    with calling:
        calling.settimeout(3)
        try:
            calling.connect((other.ipv6_address, PORT))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return True


def ipv6_neighbours(host: Host) -> dict[str, str]:
    """Where it believes that IPv6 addresses are."""
    told = json.loads(shown_by("nsenter", f"--net=/proc/{host.process}/ns/net", "ip", "-6", "-json", "neigh"))
    return {entry["dst"]: entry.get("lladdr", "") for entry in told}


async def test_rules_that_somebody_throws_away_come_back_and_go_with_the_network(
    make_driver: MakeDriver, engine: Engine, spec: MakeSpec, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_docker.wire.WRITTEN_EVERY_S", 0.2)
    monkeypatch.setattr("rooftree_docker.wire.LOOK_EVERY_S", 0.1)
    async with network_with("ports", make_driver, engine, spec, prefix) as network:
        await network.host("app_honest", bound=True)
        interface = network.described.interface
        names = {GUARD + interface, PORTS + interface}

        async def are_there() -> bool:
            return names <= set(shown_by("nft", "list", "tables", "bridge").split())

        await until(are_there, within_s=3, what="the rules")
        for name in names:
            subprocess.run(["nft", "delete", "table", "bridge", name], check=True)
            await until(are_there, within_s=3, what="the rules, again")

    assert not names & set(shown_by("nft", "list", "tables", "bridge").split())
