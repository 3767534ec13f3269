"""What holds for every command of the house: programs are told in JSON what is wrong, and an empty name is refused as
what it is."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from rooftree.cli import rooftree
from rooftree.cli.brought_commands import brought_commands, load
from rooftree.commands import NAME

MAY_BE_EMPTY: dict[str, set[str]] = {
    "call": {"path", "body"},  # which it says itself
    "new-plugin": {"name"},  # the same
    "vault files": {"path"},  # the top of a part
}
"""Texts on the command line that name nothing."""


def commands(command: click.Command, *words: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all that are below it, each with how it is typed."""
    yield " ".join(words), command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *words, name)


def all_commands() -> dict[str, click.Command]:
    """All commands of ours, those that our plugins bring among them."""
    found = dict(commands(rooftree))
    for name, home in brought_commands().items():
        if home.distribution.startswith("rooftree"):
            command = load(name)
            assert command is not None
            found.update(commands(command, name))
    return found


COMMANDS = all_commands()


def test_all_are_looked_at() -> None:
    assert {"", "plugins purge", "backup schedule set", "vault put-back", "mount add", "network set"} <= COMMANDS.keys()


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_usage_is_told_to_programs_as_json(line: str) -> None:
    words = [*line.split(), "--no-such-option", "--json"]
    if isinstance(COMMANDS[line], click.Group):
        words.append("no-such-command")

    for_person = CliRunner().invoke(rooftree, [word for word in words if word != "--json"])
    for_program = CliRunner().invoke(rooftree, words)

    assert (for_person.exit_code, for_person.stdout) == (2, "")
    assert "Error: No such option" in for_person.stderr
    assert (for_program.exit_code, for_program.stderr) == (2, "")
    answer = json.loads(for_program.stdout)
    assert answer["result"] == "error"
    assert answer["message"].startswith("No such option")


GROUPS = {line for line, command in COMMANDS.items() if isinstance(command, click.Group)}


@pytest.mark.parametrize("line", sorted(GROUPS - {"plugins"}))  # which lists them then
def test_missing_command_is_told_to_programs_as_json(line: str) -> None:
    result = CliRunner().invoke(rooftree, ["--json", *line.split()])

    assert (result.exit_code, result.stderr) == (2, "")
    assert json.loads(result.stdout)["message"].startswith("Missing command")


@pytest.mark.parametrize("line", COMMANDS)
def test_empty_name_is_refused_with_the_argument_that_it_stands_for(line: str) -> None:
    command = COMMANDS[line]
    names = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Argument)
        and isinstance(parameter.type, click.types.StringParamType | type(NAME))
        and parameter.name not in MAY_BE_EMPTY.get(line, ())
    ]
    for parameter in names:
        with pytest.raises(click.BadParameter, match="it is empty") as refusal:
            parameter.type_cast_value(click.Context(command), ("",) if parameter.nargs == -1 else "")
        assert parameter.make_metavar(click.Context(command)).strip("[].") in refusal.value.format_message()
