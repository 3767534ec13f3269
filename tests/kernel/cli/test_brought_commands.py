"""Commands that plugins bring: listed without an import, imported when typed, and harmless when broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from rooftree.cli import rooftree
from rooftree.cli.brought_commands import brought_commands

from .conftest import Cli

ENTRY_POINTS = """\
[console_scripts]
other = acme:other

[rooftree.commands]
wind = acme_commands:wind
absent = acme_commands:absent
dull = acme_commands:NUMBER
run = acme_commands:wind
# nothing = acme_commands:nothing
"""
METADATA = """\
Metadata-Version: 2.1
Name: rooftree-acme
Version: 4.5
Summary: Clocks that are wound by hand

Summary: not in the head
"""
MODULE = """\
import click
from rooftree.commands import invocation_options, pass_invocation, print_json

NUMBER = 5

@click.command()
@click.option("--turns", default=1)
@invocation_options
@pass_invocation
def wind(invocation, /, turns):
    '''Wind the clock.'''
    if turns == 0:
        invocation.ask("GET", "/busy")
    print_json({"turns": turns, "json": invocation.as_json, "echo": invocation.ask("POST", "/echo", [turns])})
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with commands, installed as pip installs it."""
    packages = tmp_path / "packages"
    information = packages / "rooftree_acme-4.5.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(METADATA)
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    (packages / "acme_commands.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(packages))
    yield packages
    sys.modules.pop("acme_commands", None)


@pytest.mark.usefixtures("packages")
async def test_help_lists_them_with_what_they_are_for_and_imports_none(cli: Cli) -> None:
    result = await cli("--help")

    brought = [line.split(maxsplit=1) for line in result.stdout.partition("Commands of plugins:")[2].splitlines()]
    ours = [words[0] for words in brought if words[1:] == ["Clocks that are wound by hand"]]
    assert ours == ["absent", "dull", "wind"]
    assert "acme_commands" not in sys.modules


@pytest.mark.usefixtures("packages", "daemon")
async def test_command_of_a_plugin_runs_and_can_ask_the_daemon(cli: Cli) -> None:
    result = await cli("--json", "wind", "--turns", "3")

    assert result.exit_code == 0
    assert '"turns": 3' in result.stdout and '"json": true' in result.stdout
    assert '"method": "POST"' in result.stdout


@pytest.mark.usefixtures("packages", "daemon")
async def test_error_answer_to_a_plugins_command_is_shown_as_to_ours(cli: Cli) -> None:
    result = await cli("wind", "--turns", "0")

    assert result.exit_code == 1
    assert "Error: Job ab12 holds the add-on" in result.stderr


@pytest.mark.usefixtures("packages")
async def test_daemon_that_does_not_run_ends_a_plugins_command_with_3(cli: Cli) -> None:
    assert (await cli("wind")).exit_code == 3


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(("name", "reason"), [("absent", "AttributeError"), ("dull", "which is no click command")])
async def test_broken_command_is_said_and_harms_no_other(cli: Cli, name: str, reason: str) -> None:
    broken, ours = await cli(name), await cli("check-config")

    assert broken.exit_code == 1
    assert f"Error: The command {name}, which rooftree-acme brings, can't be used: " in broken.stderr
    assert reason in broken.stderr
    assert ours.exit_code == 0


async def test_command_written_for_another_kernel_is_not_imported(cli: Cli, packages: Path) -> None:
    metadata = packages / "rooftree_acme-4.5.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Summary:", "Requires-Dist: rooftree>=99\nSummary:", 1))

    result = await cli("wind")

    assert "it was written for rooftree >=99" in result.stderr
    assert "acme_commands" not in sys.modules


@pytest.mark.usefixtures("packages")
async def test_name_of_ours_stays_ours(cli: Cli) -> None:
    assert "Run the daemon" in (await cli("run", "--help")).stdout


async def test_word_that_is_no_command_is_wrong_usage(cli: Cli) -> None:
    result = await cli("nonsense")

    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.stderr


@pytest.mark.usefixtures("packages")
def test_completion_offers_them_and_survives_a_broken_one() -> None:
    def complete(*words: str) -> set[str]:
        *before, incomplete = words
        shell = ShellComplete(rooftree, {}, "rooftree", "_ROOFTREE_COMPLETE")
        return {item.value for item in shell.get_completions(before, incomplete)}

    assert complete("wi") == {"wind"}
    assert "--turns" in complete("wind", "--t")
    assert "run" in complete("r")
    assert complete("absent", "x") <= {"wind", "absent"}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"[rooftree.commands]\n= x\n===\n[rooftree.commands", None])
def test_damaged_entry_points_hide_no_other(packages: Path, content: bytes | None) -> None:
    other = packages / "aaa-1.dist-info"
    other.mkdir()
    if content is not None:
        (other / "entry_points.txt").write_bytes(content)

    assert brought_commands()["wind"].distribution == "rooftree-acme"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"Summary", None])
async def test_command_without_a_summary_is_listed_with_where_it_comes_from(
    cli: Cli, packages: Path, content: bytes | None
) -> None:
    metadata = packages / "rooftree_acme-4.5.dist-info" / "METADATA"
    metadata.unlink() if content is None else metadata.write_bytes(content)

    assert "  wind     Of rooftree-acme\n" in (await cli("--help")).stdout


def test_they_are_found_where_importlib_finds_them() -> None:
    from importlib.metadata import entry_points  # what the quick look is compared with

    there = {
        point.name: (point.dist.name, point.dist.metadata["Summary"])
        for point in entry_points(group="rooftree.commands")
        if point.dist
    }

    assert there == dict(brought_commands())
    assert there["addon"][0] == "rooftree-store"
