"""For plugins that bring commands of their own: what ``rooftree``'s own commands are made with.

A distribution names a click command, or a group of them, in the entry-point group ``rooftree.commands``; the entry
point's name is the command's. The module that it leads to is imported when the command is typed, not before, and should
import heavy things only where it uses them.
"""

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation
from rooftree.cli.names import NAME
from rooftree.cli.presentation import print_json, print_table, size_text, tell
from rooftree.cli.questions import ask_secret, is_terminal

__all__ = [
    "NAME",
    "Invocation",
    "ask_secret",
    "invocation_options",
    "is_terminal",
    "pass_invocation",
    "print_json",
    "print_table",
    "size_text",
    "tell",
]
