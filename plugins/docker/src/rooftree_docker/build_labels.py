"""Labels of an image that we build, in one instruction of its Dockerfile.

Each label that the classic builder is told beside the Dockerfile is a step of its own: a container and an image. Six of
them take longer than most builds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import evolve

from rooftree_docker.build_context import BuildContext

LONGEST_CHARS: Final = 1024
"""Of a value that is written down; the builder reads lines of no more than 64 KiB."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_READ_AS_WRITTEN: Final = re.compile(r'[^\x00-\x1f\x7f"`$\\]*')


def with_labels(context: BuildContext, labels: Mapping[str, str]) -> tuple[BuildContext, dict[str, str]]:
    """What to build, and the labels that are still to be told beside it: those of which the builder would read anything
    else than what is written, or all where it might take the instruction for a part of the one before.

    The instruction is the last, so these labels stand against those of the same name that the Dockerfile sets.
    """
    written = {name: value for name, value in labels.items() if _is_plain(name, value)}
    if not written or _may_go_on(context.text):
        return context, dict(labels)
    pairs = " ".join(f'"{name}"="{value}"' for name, value in written.items())
    instructions = context.instructions + f"\nLABEL {pairs}\n".encode()
    told = {name: value for name, value in labels.items() if name not in written}
    return evolve(context, instructions=instructions), told


def _is_plain(name: str, value: str) -> bool:
    return bool(len(value) <= LONGEST_CHARS and _NAME.fullmatch(name) and _READ_AS_WRITTEN.fullmatch(value))


def _may_go_on(dockerfile: str) -> bool:
    """Whether the last instruction may not be over: the last line ends as one that goes on, with either of the escape
    characters, or is a comment, which may lie within an instruction."""
    last_line = dockerfile.rstrip().rpartition("\n")[2].strip()
    return last_line.startswith("#") or last_line.endswith(("\\", "`"))
