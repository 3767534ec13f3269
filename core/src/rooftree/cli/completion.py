# ruff: noqa: PLC0415  (imported when used, so that --help stays quick)
"""``rooftree completion``: the script that lets a shell complete the command."""

from __future__ import annotations

from typing import Final

import click

COMPLETE_VARIABLE: Final = "_ROOFTREE_COMPLETE"
SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, /, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: eval "$(rooftree completion bash)"                                  in ~/.bashrc
    zsh:  eval "$(rooftree completion zsh)"                                   in ~/.zshrc
    fish: rooftree completion fish > ~/.config/fish/completions/rooftree.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "rooftree", COMPLETE_VARIABLE).source())
