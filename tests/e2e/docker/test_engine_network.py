"""The add-on network on the real engine, and the API's socket on it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path
from random import randrange

import pytest
from attrs import evolve

from rooftree.errors import Conflict, Unavailable
from rooftree.interfaces.containers import ContainerSpec
from rooftree_docker.api_socket import ApiSocket, open_api_socket
from rooftree_docker.engine import DockerEngine
from rooftree_docker.network import FALLBACK_SUBNETS, NetworkSettings, RangeMoved
from tests.e2e.docker.conftest import MakeDriver, random_subnet
from tests.rig.engine import CHECKOUT, Engine
from tests.rig.engine_connection import engine_url
from tests.rig.waiting import until

pytestmark = pytest.mark.docker

type MakeSpec = Callable[..., ContainerSpec]

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


@asynccontextmanager
async def served(made: ApiSocket) -> AsyncIterator[None]:
    """Answers every request on the socket, then closes it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, sock=made.socket)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        await made.close()


async def fetched(driver: DockerEngine, address: str) -> bytes:
    result = await driver.execute("app_test", ["wget", "-qO-", f"http://{address}/"])
    return result.output


def interface_exists(name: str | None) -> bool:
    return Path(f"/sys/class/net/{name}").exists()


async def test_network_is_made_once_and_found_again(make_driver: MakeDriver, engine: Engine, prefix: str) -> None:
    settings = NetworkSettings(subnet=random_subnet())
    reports: list[RangeMoved | None] = []
    driver = make_driver(network=settings, report_range=reports.append)

    first, second = await asyncio.gather(driver.network(), driver.network())
    again = await make_driver(network=settings).network()

    assert first == second == again
    assert (first.name, first.subnet) == (f"{prefix}hassio", str(settings.subnet))
    assert Path(f"/sys/class/net/{first.interface}/bridge").is_dir()
    assert reports == [None]


async def test_taken_range_gives_way_to_a_documented_one_and_is_reported(
    make_driver: MakeDriver, engine: Engine, prefix: str, spec: MakeSpec
) -> None:
    wanted = random_subnet()
    reports: list[RangeMoved | None] = []
    blocker = engine.run("network", "create", "--subnet", str(wanted), f"{prefix}blocker")
    try:
        driver = make_driver(network=NetworkSettings(subnet=wanted), report_range=reports.append)

        network = await driver.network()
        await driver.network()

        (moved,) = reports
        assert moved is not None and moved.wanted == wanted and f"{prefix}blocker" in moved.taken_by
        assert IPv4Network(network.subnet) in FALLBACK_SUBNETS
    finally:
        engine.run("network", "rm", blocker)


async def test_network_follows_its_setting_while_nobody_is_on_it(
    make_driver: MakeDriver, engine: Engine, spec: MakeSpec
) -> None:
    first, second, third = (NetworkSettings(subnet=random_subnet()) for _ in range(3))
    await make_driver(network=first).network()

    moved = await make_driver(network=second).network()
    busy = make_driver(network=second)
    await busy.create(spec())
    await busy.start("app_test")
    kept = await make_driver(network=third).network()

    assert (moved.subnet, kept.subnet) == (str(second.subnet), str(second.subnet))


async def test_strangers_network_of_the_name_is_a_conflict(driver: DockerEngine, engine: Engine, prefix: str) -> None:
    stranger = engine.run("network", "create", "--subnet", str(random_subnet()), f"{prefix}hassio")
    try:
        with pytest.raises(Conflict, match="docker network rm"):
            await driver.network()
    finally:
        engine.run("network", "rm", stranger)


async def test_containers_reach_the_socket_and_the_hosts_port_stays_free(driver: DockerEngine, spec: MakeSpec) -> None:
    await driver.create(spec(extra_hosts={"supervisor": (await driver.network()).supervisor}))
    await driver.start("app_test")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", 80))
        except OSError:
            pytest.skip("something else has port 80 of this machine")

    made = await driver.open_api_socket()
    async with served(made):
        answer = await fetched(driver, "supervisor")
        with socket.socket() as host:
            host.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host.bind(("0.0.0.0", 80))
            host.listen()
            still = await fetched(driver, "supervisor")

    assert (made.how, made.reason) == ("veth", "")
    assert (answer, still) == (b"hello\n", b"hello\n")
    assert not interface_exists(made.interface)


async def test_socket_can_be_made_again_after_its_bridge_was_lost(driver: DockerEngine, spec: MakeSpec) -> None:
    await driver.create(spec())
    await driver.start("app_test")
    first = await driver.open_api_socket()
    assert await first.attached()

    subprocess.run(["ip", "link", "set", str(first.interface), "nomaster"], check=True)
    lost = await first.attached()
    await first.close()
    second = await driver.open_api_socket()
    async with served(second):
        answer = await fetched(driver, second.address)

    assert not lost
    assert first.address == second.address
    assert answer == b"hello\n"


async def test_nothing_is_left_after_a_kill(driver: DockerEngine) -> None:
    network = await driver.network()
    script = (
        "import asyncio, json, sys\n"
        "from rooftree.interfaces.containers import AddonNetwork\n"
        "from rooftree_docker.api_socket import open_api_socket\n"
        "made = asyncio.run(open_api_socket(AddonNetwork(**json.loads(sys.argv[1])), own_address=None))\n"
        "print('interface', made.interface, flush=True)\n"
        "sys.stdin.read()\n"
    )
    facts = json.dumps(
        {name: getattr(network, name) for name in ("name", "interface", "subnet", "gateway", "supervisor")}
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, facts, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    output = b""
    while not output.startswith(b"interface"):
        output = await process.stdout.readline()
        assert output
    interface = output.split()[1].decode()
    assert interface_exists(interface)

    os.kill(process.pid, signal.SIGKILL)
    await process.wait()

    async def gone() -> bool:
        return not interface_exists(interface)

    await until(gone, within_s=10, what="the end of the interface")
    process._transport.close()  # type: ignore[attr-defined]  # asyncio closes the pipes only when they are read to their end


async def test_without_rights_the_gateway_is_listened_on_and_the_reason_told(
    driver: DockerEngine, spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "unshare", refuse)
    await driver.create(spec())
    await driver.start("app_test")

    made = await driver.open_api_socket()
    network = await driver.network()
    async with served(made):
        answer = await fetched(driver, made.address)

    assert (made.how, made.address) == ("gateway", network.gateway)
    assert "does not run as root" in made.reason
    assert network.supervisor == network.gateway
    assert answer == b"hello\n"


async def test_bridge_that_is_not_there_is_said_and_leaves_nothing(
    driver: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = f"{randrange(16**10):010x}"  # to know our interface among those that other tests make meanwhile
    monkeypatch.setattr("rooftree_docker.api_socket.secrets.token_hex", lambda _size: suffix)
    network = evolve(await driver.network(), interface="no-such-bridge", gateway="203.0.113.1")

    with pytest.raises(Unavailable, match="no-such-bridge"):
        await open_api_socket(network, own_address=None)

    assert not interface_exists(f"rt{suffix}")


async def test_address_that_a_container_has_is_not_taken_from_it(
    driver: DockerEngine, engine: Engine, base_image: str
) -> None:
    network = await driver.network()
    other = engine.run("run", "-d", "--network", network.name, "--ip", network.supervisor, base_image, "sleep", "60")
    try:
        with pytest.raises(Conflict, match="two supervisors"):
            await driver.open_api_socket()
    finally:
        engine.run("rm", "-f", other)


async def test_daemon_in_a_container_translates_paths_and_listens_on_its_own_address(
    driver: DockerEngine, engine: Engine, base_image: str, prefix: str, instance: str, data_dir: Path
) -> None:
    """The driver runs in a container made of this machine's Python, and starts a sibling beside itself."""
    network = await driver.network()
    (data_dir / "inner").mkdir()
    script = data_dir / "inside.py"
    script.write_text(INSIDE)
    python = {
        "/usr",
        "/lib",
        "/lib64",
        "/etc/ssl",
        str(CHECKOUT),
        sys.prefix,
        sys.base_prefix,
        str(Path(sys.executable).parent),
    }
    volumes = [part for path in sorted(python) if Path(path).exists() for part in ("-v", f"{path}:{path}:ro")]
    outcome = engine.run(
        "run", "--rm", "--name", f"{prefix}daemon", "--network", network.name, *volumes,
        "-v", f"{data_dir}:/data", "-v", f"{engine_url().removeprefix('unix://')}:/run/docker.sock",
        base_image, sys.executable, "/data/inside.py", instance, prefix, network.subnet, base_image,
    )  # fmt: skip

    facts = json.loads(outcome.splitlines()[-1])
    assert facts["how"] == "own address"
    assert facts["address"] == facts["supervisor"] != network.supervisor
    assert (data_dir / "inner" / "file").read_text() == "from the sibling\n"


INSIDE = """
import asyncio, json, sys
from ipaddress import IPv4Network
from pathlib import Path
from rooftree.interfaces.containers import ContainerSpec, DataPath, Mount
from rooftree_docker.engine import DockerEngine
from rooftree_docker.network import NetworkSettings

async def main(instance, prefix, subnet, image):
    driver = DockerEngine("unix:///run/docker.sock", data_dir=Path("/data"), instance_id=instance, prefix=prefix,
                          network=NetworkSettings(subnet=IPv4Network(subnet)), publish=lambda event: None)
    made = await driver.open_api_socket()
    mount = Mount(DataPath("inner"), "/inner")
    command = ("sh", "-c", "echo from the sibling > /inner/file")
    await driver.create(ContainerSpec(name="sibling", image=image, command=command, mounts=(mount,)))
    await driver.start("sibling")
    async for _ in driver.logs("sibling", follow=True):
        pass
    network = await driver.network()
    await driver.close()
    print(json.dumps({"how": made.how, "address": made.address, "supervisor": network.supervisor}))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_ipv6_and_packet_size_wait_until_nobody_is_on_the_network(
    make_driver: MakeDriver, engine: Engine, prefix: str, spec: MakeSpec
) -> None:
    waits: list[bool] = []
    driver = make_driver(report_network_waits=waits.append)
    await driver.create(spec())
    await driver.start("app_test")

    driver.set_network(ipv6=True, mtu=1400)
    await driver.network()
    while_used = waits[-1]
    await driver.remove("app_test")
    await driver.network()
    await driver.create(spec())
    await driver.start("app_test")

    made = json.loads(engine.run("network", "inspect", f"{prefix}hassio"))[0]
    inside = await driver.execute("app_test", ["ip", "address", "show", "eth0"])
    assert (while_used, waits[-1]) == (True, False)
    assert made["EnableIPv6"] is True
    assert b"mtu 1400" in inside.output
    assert b"inet6 fd" in inside.output
