"""Ports of the host that are taken: said before the start, with who has them, and no more once the add-on runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rooftree.interfaces.containers import PortConflict
from rooftree_addons.ports import Listener, listeners, process_of
from tests.plugins.addons.host_ports import FAMILIES, listening
from tests.plugins.addons.house import HELLO, House, done, refusal


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_sockets_of_the_host_are_seen_with_their_process(protocol: str, family: str) -> None:
    with listening(protocol, family) as port:
        found = [each for each in listeners() if (each.protocol, each.port) == (protocol, port)]

        comm = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
        assert [process_of(each) for each in found] == [f"{comm} (process {os.getpid()})"]

    assert not [each for each in listeners() if (each.protocol, each.port) == (protocol, port)]


def test_connections_and_connected_sockets_are_no_listeners() -> None:
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
        ports = [each.port for each in listeners() if each.protocol == "tcp"]

        assert port in ports
        assert client.getsockname()[1] not in ports


def test_socket_whose_process_is_gone_has_no_name() -> None:
    assert process_of(Listener("tcp", 80, "no inode")) is None


@pytest.mark.usefixtures("on_the_host")
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_start_is_refused_before_anything_is_touched_while_a_program_has_the_port(
    home: House, protocol: str
) -> None:
    with listening(protocol) as port:
        await home.install(config={"ports": {f"80/{protocol}": port}})
        home.engine.calls.clear()

        answer = await home.post(HELLO, "start")

    message = refusal(answer, 400, "app_port_conflict")
    assert f"Port {port} of the host" in message
    assert f"(process {os.getpid()})" in message
    assert answer.envelope["extra_fields"]["port"] == port
    assert not {"create", "start"} & {verb for verb, _ in home.engine.calls}
    problem = home.problem("app_port_conflict")
    assert problem is not None
    assert problem.extra == {"port": port}
    assert set(problem.suggestions) == {"clear_port_config", "execute_start"}


@pytest.mark.usefixtures("on_the_host")
async def test_problem_ends_when_the_add_on_runs(home: House) -> None:
    with listening() as port:
        await home.install(config={"ports": {"80/tcp": port}})
        await home.post(HELLO, "start")
        before = home.problem("app_port_conflict")

    done(await home.post(HELLO, "start"))
    await home.quiet()

    assert before is not None
    assert home.problem("app_port_conflict") is None


@pytest.mark.usefixtures("on_the_host")
async def test_problem_ends_when_the_port_is_given_up_and_not_when_another_is(home: House) -> None:
    with listening() as port:
        await home.install(config={"ports": {"80/tcp": port, "81/tcp": 81}})
        await home.post(HELLO, "start")

        await home.set_options(HELLO, network={"80/tcp": port, "81/tcp": None})
        kept = home.problem("app_port_conflict")
        await home.set_options(HELLO, network={"80/tcp": None, "81/tcp": None})

    assert kept is not None
    assert home.problem("app_port_conflict") is None


@pytest.mark.usefixtures("on_the_host")
async def test_port_of_the_same_number_and_another_protocol_is_no_conflict(home: House) -> None:
    with listening("udp") as port:
        await home.install(config={"ports": {"80/tcp": port}})

        done(await home.post(HELLO, "start"))


async def test_add_on_that_has_the_port_is_named_when_the_engine_refuses(home: House) -> None:
    await home.run("first", config={"ports": {"80/tcp": 8080}})
    second = await home.install("second", config={"ports": {"90/tcp": 8080}})

    answer = await home.post(second, "start")

    message = refusal(answer, 400, "app_port_conflict")
    assert "in use by add-on local_first" in message
    assert answer.envelope["extra_fields"] == {"app": second, "port": 8080}
    assert home.problem("app_port_conflict", second) is not None


async def test_engine_that_does_not_say_which_port_is_believed(home: House) -> None:
    await home.install(config={"ports": {"80/tcp": 8080}})
    home.engine.fail("start", PortConflict("in use", port=None))

    answer = await home.post(HELLO, "start")

    assert "A port of the host" in refusal(answer, 400, "app_port_conflict")


@pytest.mark.usefixtures("elsewhere")
async def test_ports_of_another_network_are_left_to_the_engine(home: House) -> None:
    with listening() as port:
        await home.install(config={"ports": {"80/tcp": port}})

        done(await home.post(HELLO, "start"))


async def test_two_ports_of_a_container_cannot_have_the_same_port_of_the_host(home: House) -> None:
    await home.install(config={"ports": {"80/tcp": 80, "81": 81, "80/udp": 80}})

    answer = await home.post(HELLO, "options", {"network": {"80/tcp": 90, "81": 90}})
    done(await home.post(HELLO, "options", {"network": {"80/tcp": 90, "80/udp": 90}}))

    assert "network.81: port 90 of the host is that of 80/tcp already" in refusal(answer, 400)
    assert home.installed().network == {"80/tcp": 90, "80/udp": 90}


@pytest.mark.parametrize(("name", "shown"), [(b"\xff\xfe", "��"), (b"\x1b[2Jx", "?[2Jx"), (b"mosquitto", "mosquitto")])
def test_name_that_a_process_gives_itself_is_shown_printable(name: bytes, shown: str) -> None:
    program = (
        "import ctypes, socket, sys; "
        "ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1])); "
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, name.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        listener = next(listener for listener in listeners() if listener.port == port)
        assert process_of(listener) == f"{shown} (process {process.pid})"
        process.communicate()
