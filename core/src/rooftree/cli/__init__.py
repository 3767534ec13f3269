"""The ``rooftree`` command: it runs the daemon, and talks to the one that runs, over its unix socket.

``rooftree --help`` and completion have to be quick, so nothing but click is imported here and at the top of the
command modules; a command imports what it needs when it runs.

Exit codes: 0 done, 1 refused (an error answer, wrong settings), 2 wrong usage, 3 the daemon can't be reached.
"""

from __future__ import annotations

from typing import override

import click

from rooftree.cli.call import call
from rooftree.cli.check_config import check_config
from rooftree.cli.completion import COMPLETE_VARIABLE, completion
from rooftree.cli.invocation import Invocation, invocation_options
from rooftree.cli.new_plugin import new_plugin
from rooftree.cli.plugins import plugins
from rooftree.cli.problems import problems
from rooftree.cli.refusals import refusal
from rooftree.cli.run import run
from rooftree.cli.token import token
from rooftree.errors import RooftreeError


class _Rooftree(click.Group):
    """The group of all commands: what the kernel refuses in a sentence is shown as that sentence."""

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RooftreeError as error:
            raise refusal(error, as_json=ctx.ensure_object(Invocation).as_json) from None


@click.group(cls=_Rooftree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rooftree", prog_name="rooftree")
@invocation_options
def rooftree() -> None:
    """Supervise a home-automation host: run the daemon, or talk to the one that runs."""


for _command in (run, check_config, plugins, problems, token, call, new_plugin, completion):
    rooftree.add_command(_command)


def main() -> None:
    """The console script ``rooftree``."""
    rooftree.main(prog_name="rooftree", complete_var=COMPLETE_VARIABLE)
