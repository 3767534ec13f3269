"""The ``rooftree`` command: it runs the daemon, and talks to the one that runs, over its unix socket.

``rooftree --help`` and completion have to be quick, so nothing but click is imported here and at the top of the
command modules; a command imports what it needs when it runs. Plugins bring commands too (``rooftree.commands``).

Exit codes: 0 done, 1 refused (an error answer, wrong settings), 2 wrong usage, 3 the daemon can't be reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, override

import click

from rooftree.cli.brought_commands import BrokenCommand, brought_commands, load
from rooftree.cli.call import call
from rooftree.cli.check_config import check_config
from rooftree.cli.completion import COMPLETE_VARIABLE, completion
from rooftree.cli.docs import docs
from rooftree.cli.invocation import invocation_options
from rooftree.cli.new_plugin import new_plugin
from rooftree.cli.plugins import plugins
from rooftree.cli.problems import problems
from rooftree.cli.refusals import asks_for_json, refusals
from rooftree.cli.run import run
from rooftree.cli.token import token

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_ERRORS_AS_JSON: Final = "rooftree.errors_as_json"


class _Rooftree(click.Group):
    """The group of all commands: ours, which go first, and those of plugins.

    What the kernel refuses in a sentence is shown as that sentence.
    """

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        ours = super().get_command(ctx, cmd_name)
        if ours is not None:
            return ours
        try:
            return load(cmd_name)
        except BrokenCommand:
            if ctx.resilient_parsing:  # a shell asks how the line goes on, and has no use for a reason
                return None
            raise

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(ctx, formatter)
        brought = self._brought()
        if brought:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(brought)

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415  # only a shell that completes needs it

        brought = [CompletionItem(name, help=text) for name, text in self._brought() if name.startswith(incomplete)]
        return [*super().shell_complete(ctx, incomplete), *brought]

    def _brought(self) -> list[tuple[str, str]]:
        """The commands of plugins, each with what it is for."""
        return [
            (name, home.summary or f"Of {home.distribution}")
            for name, home in brought_commands().items()
            if name not in self.commands
        ]

    @override
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        as_json = asks_for_json(args)  # which parsing takes apart
        with refusals(as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_ERRORS_AS_JSON] = as_json
        return context

    @override
    def invoke(self, ctx: click.Context) -> object:
        with refusals(as_json=ctx.meta[_ERRORS_AS_JSON]):
            return super().invoke(ctx)


@click.group(cls=_Rooftree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rooftree", prog_name="rooftree")
@invocation_options
def rooftree() -> None:
    """Supervise a home-automation host: run the daemon, or talk to the one that runs."""


for _command in (run, check_config, plugins, problems, token, call, new_plugin, docs, completion):
    rooftree.add_command(_command)


def main() -> None:
    """The console script ``rooftree``."""
    rooftree.main(prog_name="rooftree", complete_var=COMPLETE_VARIABLE)
