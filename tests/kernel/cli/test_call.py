"""``rooftree call``: what comes out, where, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.requirements import needs
from tests.rig.terminal import on_a_terminal

from .conftest import Cli, StandIn

ROOFTREE = (sys.executable, "-m", "rooftree.cli")


async def test_data_of_the_answer_is_printed_as_readable_json(cli: Cli, daemon: StandIn) -> None:
    result = await cli("call", "GET", "/echo")

    assert result.exit_code == 0
    assert result.stdout == '{\n  "method": "GET",\n  "body": null,\n  "ä": "ö"\n}\n'


async def test_json_option_prints_the_whole_answer(cli: Cli, daemon: StandIn) -> None:
    result = await cli("call", "get", "/echo", "--json")

    assert json.loads(result.stdout) == {"result": "ok", "data": {"method": "GET", "body": None, "ä": "ö"}}


async def test_answer_without_envelope_is_printed_whole(cli: Cli, daemon: StandIn) -> None:
    result = await cli("call", "GET", "/document")

    assert json.loads(result.stdout) == {"openapi": "3.1.0"}


async def test_body_is_sent_as_it_was_written(cli: Cli, daemon: StandIn) -> None:
    body = '{"options":  {"big": 123456789012345678901234567890}}'

    await cli("call", "POST", "/echo", body)
    await cli("call", "POST", "/echo", "-", input=body)

    assert daemon.asked == [("POST", "/echo", body.encode())] * 2


async def test_body_that_is_not_json_is_refused_with_its_place_before_anything_is_sent(
    cli: Cli, daemon: StandIn
) -> None:
    result = await cli("call", "POST", "/echo", "{name: 1}")
    not_text = await cli("call", "POST", "/echo", "-", input=b"\xff\xfe\xfa")

    assert (result.exit_code, not_text.exit_code) == (2, 2)
    assert "the body is not JSON (line 1 column 2: " in result.stderr
    assert "the body is not JSON" in not_text.stderr
    assert daemon.asked == []


@pytest.mark.parametrize("path", ["/a/../b", "/a%2fb", "//a", "/a?x=%20&y", "/a;b/./"])
async def test_path_is_sent_exactly_as_written(cli: Cli, daemon: StandIn, path: str) -> None:
    await cli("call", "GET", path)

    assert daemon.asked[0][1] == path


@pytest.mark.parametrize(("path", "message"), [("store", "did you mean /store?"), ("/a b", "%20"), ("/ä", "%C3%A4")])
async def test_path_that_can_not_be_sent_is_refused_with_what_to_write(
    cli: Cli, daemon: StandIn, path: str, message: str
) -> None:
    result = await cli("call", "GET", path)

    assert result.exit_code == 2
    assert message in result.stderr
    assert daemon.asked == []


async def test_error_answer_is_its_message_and_exit_code_1(cli: Cli, daemon: StandIn) -> None:
    result = await cli("call", "POST", "/busy")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: Job ab12 holds the add-on\nMore about it: rooftree call GET /jobs/ab12\n"


async def test_error_answer_as_json_is_the_envelope_as_it_came(cli: Cli, daemon: StandIn) -> None:
    result = await cli("--json", "call", "POST", "/busy")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "result": "error",
        "message": "Job ab12 holds the add-on",
        "error_key": "job_conflict",
        "job_id": "ab12",
    }
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/unknown", "There is no path /unknown"),
        ("/plain-error", "Bad gateway"),
        ("/not-json", "The daemon's answer (status 200) says that it is JSON, and is not"),
    ],
)
async def test_what_else_can_be_wrong_with_an_answer_is_told(
    cli: Cli, daemon: StandIn, path: str, message: str
) -> None:
    result = await cli("call", "GET", path)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {message}\n")


async def test_text_and_bytes_come_out_unchanged(cli: Cli, daemon: StandIn) -> None:
    text = await cli("call", "GET", "/text")
    picture = await cli("call", "GET", "/picture")

    assert text.stdout_bytes == b"one\ntwo\n"
    assert picture.stdout_bytes == bytes(range(256))


async def test_answer_that_breaks_off_is_an_error_after_what_came(cli: Cli, daemon: StandIn) -> None:
    result = await cli("call", "GET", "/breaks")

    assert (result.exit_code, result.stdout) == (3, "begin\n")
    assert "broke off" in result.stderr


async def test_head_prints_nothing(cli: Cli, daemon: StandIn) -> None:
    result = await cli("call", "HEAD", "/document")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def heed_ctrl_c() -> None:
    """A shell starts what runs in its background with ctrl-c ignored, and so might these tests be run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_stream_is_printed_as_it_comes_and_ctrl_c_ends_it_quietly(
    daemon: StandIn, environment: Mapping[str, str]
) -> None:
    process = await asyncio.create_subprocess_exec(
        *ROOFTREE, "call", "GET", "/logs/follow", stdout=-1, stderr=-1, env={**os.environ, **environment}
    )
    assert process.stdout is not None

    assert await process.stdout.readline() == b"first\n"
    daemon.log_goes_on.set()
    assert await process.stdout.readline() == b"second\n"
    assert await process.wait() == 0

    daemon.log_goes_on.clear()
    process = await asyncio.create_subprocess_exec(
        *ROOFTREE,
        *("call", "GET", "/logs/follow"),
        stdout=-1,
        stderr=-1,
        env={**os.environ, **environment},
        preexec_fn=heed_ctrl_c,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"first\n"
    process.send_signal(signal.SIGINT)
    output, errors = await process.communicate()

    assert (process.returncode, output, errors) == (130, b"", b"")


async def test_json_is_coloured_on_a_terminal(daemon: StandIn, environment: Mapping[str, str]) -> None:
    code, shown = await on_a_terminal("call", "GET", "/echo", environment=environment)

    assert code == 0
    assert b"\x1b[" in shown
    assert b"method" in shown


async def test_bytes_are_kept_from_a_terminal(daemon: StandIn, environment: Mapping[str, str]) -> None:
    code, shown = await on_a_terminal("call", "GET", "/picture", environment=environment)

    assert code == 2
    assert b"image/png" in shown
    assert b"\x00" not in shown


# --- no daemon


async def test_missing_socket_is_told_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    result = await cli("call", "GET", "/x")

    assert result.exit_code == 3
    assert f"Rooftree is not running here: there is no socket {tmp_path}/rooftree.sock" in result.stderr
    assert "rooftree run" in result.stderr


async def test_missing_socket_is_an_envelope_for_programs(cli: Cli) -> None:
    result = await cli("call", "GET", "/x", "--json")

    answer = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (answer["result"], answer["error_key"]) == ("error", "daemon_not_running")


async def test_socket_that_a_dead_daemon_left_is_told(cli: Cli, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "rooftree.sock"))

    result = await cli("call", "GET", "/x")

    assert result.exit_code == 3
    assert "nobody listens at" in result.stderr


async def test_socket_path_that_is_too_long_is_told(cli: Cli, tmp_path: Path) -> None:
    result = await cli("call", "GET", "/x", "--socket", tmp_path / ("x" * 120))

    assert result.exit_code == 3
    assert "can't be used: AF_UNIX path too long" in result.stderr


@needs(os.geteuid() == 0, "needs root, to become somebody else")
async def test_socket_of_another_user_is_told_with_what_to_do(daemon: StandIn, environment: Mapping[str, str]) -> None:
    daemon.socket.chmod(0o600)
    daemon.socket.parent.chmod(0o755)
    as_nobody = (
        "import os, sys, rooftree.cli.connection, rooftree.cli.presentation\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "rooftree.cli.main()"
    )

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", as_nobody, "call", "GET", "/x", "--socket", str(daemon.socket)),
        stdout=-1,
        stderr=-1,
        env={**os.environ, **environment},
    )
    _, errors = await process.communicate()

    assert process.returncode == 3
    assert f"Error: You (nobody) may not use {daemon.socket}".encode() in errors
    assert b"sudo" in errors


async def test_socket_option_needs_no_readable_settings(cli: Cli, daemon: StandIn) -> None:
    broken = await cli("call", "GET", "/echo", ROOFTREE_PORT="x")
    told = await cli("--socket", daemon.socket, "call", "GET", "/echo", ROOFTREE_PORT="x")

    assert broken.exit_code == 1
    assert "environment ROOFTREE_PORT: kernel.port must be a whole number" in broken.stderr
    assert told.exit_code == 0
