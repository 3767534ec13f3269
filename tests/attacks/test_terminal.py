"""Names of folders, problems and logs that would drive the terminal of whoever looks: seen, and without effect."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sys
import unicodedata
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

import rooftree
from rooftree.cli.terminal_text import ColouredText, printable_json, printable_lines
from rooftree.daemon import logs
from rooftree.model import printable
from tests.rig.terminal import on_a_terminal

ROOT = Path(__file__).parents[2]
ROOFTREE = (sys.executable, "-m", "rooftree.cli")

EVIL = (
    "\x1b]0;owned\x07"  # the window's title
    "\x1b[2J\x1b[H"  # everything gone
    "\x1b[6n"  # an answer, typed as if by the user
    "\x1bP+q544e\x1b\\"  # a question for what keys stand for
    "\x1b]52;c;cm0gLXJm\x07"  # the clipboard
    "\x9b31m"  # the same in one byte, as U+009B
    "\u202egnp.exe\u202c\u2066\u2069\u200f"  # written backwards
    "\x7f\x08\x08\r\x0b\x0c\x0e\u2028\u2029\ufeff\U000e0041"
)
NEUTRAL = "ordinary"
_SGR = re.compile(r"\x1b\[[0-9;:]*m")


def harmless(shown: bytes) -> str:
    """What stands on a terminal, once it was found to have nothing in it but text, lines and colours."""
    text = shown.decode("utf-8")
    for char in _SGR.sub("", text.replace("\r\n", "\n")):
        assert char in "\n\t" or char.isprintable(), (f"U+{ord(char):04X}", text[:400])
    return text


class Daemon:
    """Answers everything with something evil."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/kernel/v1/problems":
            problem = {"severity": "issue", "context": f"a{EVIL}", "reference": EVIL, "message": f"{NEUTRAL} {EVIL}"}
            return self.ok({"problems": [problem, {**problem, "severity": EVIL, "message": "x\ud800y"}]})
        if path == "/kernel/v1/plugins":
            plugin: dict[str, Any] = {"name": EVIL, "version": EVIL, "state": EVIL, "reason": f"{NEUTRAL} {EVIL}"}
            plugins, drivers = [plugin | {"provides": [EVIL], "requires": [EVIL]}], [plugin | {"plugin": EVIL}]
            return self.ok({"plugins": plugins, "drivers": drivers, "left_behind": []})
        if path == "/kernel/v1/tokens":
            token = {"name": EVIL, "kind": EVIL, "role": EVIL, "created": EVIL, "id": EVIL}
            return self.ok({"tokens": [token]})
        if path.startswith("/kernel/v1/plugins/"):
            return self.ok({"name": EVIL, "state": EVIL, "reason": f"{NEUTRAL} {EVIL}"})
        if path == "/error":
            return web.json_response(
                {"result": "error", "message": f"{NEUTRAL} {EVIL}\n{EVIL}", "job_id": EVIL}, status=400
            )
        if path == "/plain-error":
            return web.Response(status=502, text=f"{NEUTRAL} {EVIL}")
        if path == "/json":
            return self.ok({EVIL: [f"{NEUTRAL} {EVIL}", "\ud800"]})
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        for byte in f"\x1b[1;32m{NEUTRAL}\x1b[0m\tgrün\r\n{EVIL}\x1b[8m\nover\rwritten".encode() + b"\xff\xfe\xf0\x9f":
            await response.write(bytes([byte]))
        return response

    def ok(self, data: object) -> web.Response:
        return web.json_response({"result": "ok", "data": data})


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[Path]:
    runner = web.ServerRunner(web.Server(Daemon().answer))
    await runner.setup()
    path = tmp_path / "rooftree.sock"
    await web.UnixSite(runner, str(path)).start()
    yield path
    await runner.cleanup()


@pytest.mark.parametrize(
    "arguments",
    [
        ("problems",),
        ("problems", "--json"),
        ("plugins",),
        ("plugins", "--json"),
        ("plugins", "restart", "x"),
        ("token", "list"),
        ("call", "GET", "/json"),
        ("call", "GET", "/json", "--json"),
        ("call", "GET", "/error"),
        ("call", "GET", "/error", "--json"),
        ("call", "GET", "/plain-error"),
        ("call", "GET", "/logs"),
    ],
    ids=" ".join,
)
async def test_nothing_that_is_shown_drives_the_terminal(socket: Path, arguments: tuple[str, ...]) -> None:
    _, written = await on_a_terminal("--socket", str(socket), *arguments)
    shown = harmless(written)

    if arguments[0] == "call":  # a table is folded within words
        assert NEUTRAL in shown and "owned" in shown
    assert "x1b" in shown or "u001b" in shown  # it is seen


async def test_colours_of_a_log_stay_and_are_taken_back(socket: Path) -> None:
    _, written = await on_a_terminal("--socket", str(socket), "call", "GET", "/logs")
    shown = harmless(written)

    assert f"\x1b[1;32m{NEUTRAL}\x1b[0m\tgrün\r\n" in shown
    assert "over\\rwritten\\xff\\xfe\\xf0\\x9f" in shown
    assert shown.endswith("\x1b[0m")


async def test_json_in_a_pipe_is_valid_and_whole(socket: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *ROOFTREE, "--socket", str(socket), "call", "GET", "/json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()

    assert json.loads(output) == {EVIL: [f"{NEUTRAL} {EVIL}", "\ud800"]}
    harmless(output)


async def test_text_in_a_pipe_is_every_byte(socket: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *ROOFTREE, "--socket", str(socket), "call", "GET", "/logs", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()

    assert output.endswith(b"written\xff\xfe\xf0\x9f") and EVIL.encode() in output


async def test_linter_shows_what_it_finds_printable(tmp_path: Path) -> None:
    name = EVIL.replace("/", "")
    folder = tmp_path / f"{NEUTRAL}{name}"[:120]
    folder.mkdir()
    config = {"name": EVIL, f"k{EVIL}": 1, "version": EVIL}
    (folder / "config.json").write_text(json.dumps(config))

    _, written = await on_a_terminal("addon", "validate", str(folder))
    shown = harmless(written)

    assert NEUTRAL in shown and "owned" in shown


@pytest.mark.parametrize("render", [logs.text_line, logs.coloured_line, logs.json_line])
def test_our_own_log_shows_what_strangers_wrote_printable(render: Any) -> None:
    event = {
        "timestamp": "2026-01-31T09:00:00.123+00:00",
        "level": "info",
        "logger": "rooftree.jobs",
        "event": f"said_{EVIL}",
        "path": f"{EVIL}\ud800",
        EVIL: {"a": [EVIL, b"\x1b[2J", Path(EVIL)]},
        "exception": f"Traceback\n  {EVIL}\nValueError: {EVIL}",
    }

    harmless(render(structlog.get_logger(), "info", event).encode())


@given(st.text())
@example(EVIL)
@example("\ud800\udfff\x00")
def test_printable_text_is_printable_and_one_line(text: str) -> None:
    assert printable(text).isprintable()
    assert all(char in "\n\t" or char.isprintable() for char in printable_lines(text))
    for char in printable(text):
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@example({EVIL: "\ud800\U000e0041"})
def test_printable_json_means_the_same(value: Any) -> None:
    for indent in (None, 2):
        text = printable_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert json.loads(text) == value
        assert all(char == "\n" or char.isprintable() for char in text)


PIECES = st.sampled_from(["\x1b", "[", "1", ";", ":", "m", "A", "\r", "\n", "\t", "x", "\x9b", "]0;a\x07", "9" * 70])


@given(st.lists(PIECES).map("".join), st.data())
def test_pieces_are_shown_as_the_whole_would_be(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    whole, pieces = ColouredText(), ColouredText()

    shown = whole.feed(text) + whole.end()
    in_pieces = "".join(pieces.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))

    assert in_pieces + pieces.end() == shown
    harmless(shown.encode())


def calls(path: Path) -> Iterator[tuple[str, str]]:
    """The calls in a module that print, each with the function that it is in."""
    functions: list[str] = []

    class Visitor(ast.NodeVisitor):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            functions.append(node.name)
            self.generic_visit(node)
            functions.pop()

        visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

        def visit_Call(self, node: ast.Call) -> None:
            name = ast.unparse(node.func)
            if PRINTS.fullmatch(name):
                printing.append((functions[-1] if functions else "", name))
            self.generic_visit(node)

        def visit_Attribute(self, node: ast.Attribute) -> None:
            if ast.unparse(node) in {"sys.stdout.buffer", "sys.stderr.buffer", "sys.__stdout__", "sys.__stderr__"}:
                printing.append((functions[-1] if functions else "", ast.unparse(node)))
            self.generic_visit(node)

    printing: list[tuple[str, str]] = []
    Visitor().visit(ast.parse(path.read_text()))
    yield from printing


PRINTS = re.compile(
    r"print|pprint|pprint\.pprint|(click\.)?(echo|secho|echo_via_pager)|sys\.(stdout|stderr)\.(write|writelines)|os\.write|Console"
    r"|rich\.print|traceback\.print_\w+"
)
PRINTERS = {
    ("core/src/rooftree/cli/presentation.py", "tell", "click.echo"),
    ("core/src/rooftree/cli/presentation.py", "print_json", "click.echo"),
    ("core/src/rooftree/cli/presentation.py", "print_json", "Console"),
    ("core/src/rooftree/cli/presentation.py", "print_stream", "sys.stdout.buffer"),
    ("core/src/rooftree/cli/presentation.py", "print_table", "click.echo"),
    ("core/src/rooftree/cli/presentation.py", "print_table", "Console"),
    # A page of the documentation, which is ours.
    ("core/src/rooftree/cli/presentation.py", "print_page", "click.echo"),
    ("core/src/rooftree/cli/presentation.py", "print_page", "click.echo_via_pager"),
    ("core/src/rooftree/cli/presentation.py", "print_page", "Console"),
    # A script that click writes for a shell, of the names of our own commands.
    ("core/src/rooftree/cli/completion.py", "completion", "click.echo"),
    # A bar with words of our own: what is done, and the stage of a job of ours.
    ("plugins/backups/src/rooftree_backups/commands.py", "_bar", "Console"),
    # A child of the daemon's, whose output is a pipe.
    ("plugins/backups-vault/src/rooftree_backups_vault/proof_reading.py", "main", "sys.stdout.buffer"),
}


def test_nothing_else_prints() -> None:
    modules = [*(ROOT / "core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    assert len(modules) > 200

    printing = {
        (str(path.relative_to(ROOT)), function, name)
        for path in modules
        if "src" in path.parts and "skeleton" not in path.parts
        for function, name in calls(path)
        if name != "os.write"
    }

    assert printing == PRINTERS


def test_printing_is_seen_wherever_it_stands(tmp_path: Path) -> None:
    assert Path(rooftree.__file__).is_relative_to(ROOT)
    path = tmp_path / "printing.py"
    path.write_text("def f():\n    print(1)\n    x = sys.stdout.buffer\n    click.secho('')\n")

    assert set(calls(path)) == {("f", "print"), ("f", "sys.stdout.buffer"), ("f", "click.secho")}
