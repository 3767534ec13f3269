"""What it takes to build an add-on on the host: which of its files says how, and what the builder is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from rooftree_files import Folder
from rooftree_files.dockerfile import UnsetImage, unset_in_from
from rooftree_store.build_file import BuildFile
from rooftree_store.image_name import is_image

_BETWEEN_PARTS: Final = re.compile(r"[/:@]")


def dockerfile_of(folder: Folder, arch: str) -> str | None:
    """The name of the file in an add-on's folder that says how it is built for an architecture, whatever it is.

    ``None`` where there is none. Blocks.
    """
    return next((name for name in (f"Dockerfile.{arch}", "Dockerfile") if folder.status(name) is not None), None)


def build_arguments(build: BuildFile | None, version: str, arch: str) -> dict[str, str]:
    """The build arguments. Raises :class:`~rooftree.errors.Invalid` for a build file that has no image for ``arch``, or
    whose arguments can't be used.

    :param build: ``None`` for an add-on without a build file, whose Dockerfile says what it is built on
    """
    arguments = {"BUILD_VERSION": version, "BUILD_ARCH": arch}
    if build is None:
        return arguments
    build.refuse_left_out("args", *(path for path in build.left_out if path.startswith("args.")))
    return {**arguments, **build.args, "BUILD_FROM": build.base_image(arch)}


@frozen
class MissingBase:
    """A ``FROM`` that names no image, because nothing sets what its name is made of."""

    line: int
    reason: str
    """The rest of the sentence that begins with ``FROM``, with what to write."""


def missing_bases(dockerfile: str, arguments: Mapping[str, str]) -> list[MissingBase]:
    """Each ``FROM`` of a Dockerfile that would leave a build without an image to begin with."""
    return [
        MissingBase(unset.line, _reason(unset, arguments))
        for unset in unset_in_from(dockerfile, arguments)
        if not is_image(unset.image) or "" in _BETWEEN_PARTS.split(unset.image)
    ]


def _reason(unset: UnsetImage, arguments: Mapping[str, str]) -> str:
    advice = "; ".join(_advice(name, arguments) for name in unset.names)
    return f"{unset.words} names no image, because nothing sets {', '.join(unset.names)}: {advice}"


def _advice(name: str, arguments: Mapping[str, str]) -> str:
    if name in arguments:
        return f"write ARG {name} above the first FROM, without which the value that it is given does not count there"
    what, key = ("image", "build_from") if name == "BUILD_FROM" else ("value", "args")
    return f"write ARG {name}=<{what}> above the first FROM, or name it under {key} in build.yaml"
