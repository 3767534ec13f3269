"""``rooftree clock``: what the clock shows, at the shell."""

import click
from rooftree.commands import Invocation, invocation_options, pass_invocation, print_json


@click.command()
@invocation_options
@pass_invocation
def clock(invocation: Invocation, /) -> None:
    """Show what the tower clock shows."""
    face = invocation.ask("GET", "/clock")
    if invocation.as_json:
        print_json(face)
    else:
        click.echo(f"It is {face['now']}, and {face['turns']} turns are left.")
