# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree new-plugin``: a plugin to begin with, complete, whose tests pass.

The texts are in ``skeleton/``, a folder for each shape, as templates of the standard library: a few names are all that
is to be filled in, and a tool such as copier would bring seventeen more packages into the daemon's environment for it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST: Final = 40
ALLOWED: Final = (
    f"small letters and digits in words joined by single hyphens, a letter first, {LONGEST} characters at most, "
    "such as weather-station"
)
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
TAKEN: Final = frozenset({"kernel", "plugin", "testing"})
"""Names that mean something else already; those of installed plugins are taken too."""


type Shape = Literal["package", "one_file", "board"]
"""What is written, by its folder in ``skeleton/``."""


def names_of(name: str, shape: Shape = "package") -> Mapping[str, str]:
    """What is filled in, by placeholder; raises ``ValueError`` for a name that no plugin can have."""
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be the name of a plugin: it has to be {ALLOWED}")
    if name in TAKEN:
        raise ValueError(f"{name!r} can't be the name of a plugin: it is one of {', '.join(sorted(TAKEN))}")
    words = name.split("-")
    module = "_".join(words)
    kind = "board_" if shape == "board" else ""
    return {
        "name": name,
        "distribution": f"rooftree-{kind.replace('_', '-')}{name}",
        "package": f"rooftree_{kind}{module}",
        "module": module,
        "Class": "".join(word.capitalize() for word in words),
    }


@click.command(name="new-plugin")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="FOLDER",
    help="Where the plugin's folder is made; by default here.",
)
@click.option("--one-file", "shape", flag_value="one_file", help="All of it in one file, and its tests in another.")
@click.option("--board", "shape", flag_value="board", help="A driver for the lights and switches of a board, NAME.")
@click.option("--package", "shape", flag_value="package", default=True, hidden=True)
def new_plugin(name: str, into: Path, shape: Shape) -> None:
    """Write a plugin to begin with: complete, typed, and with tests that pass.

    NAME is the plugin's domain, such as weather-station, or the name of a board. The folder is rooftree-NAME, or
    rooftree-board-NAME.
    """
    from importlib.metadata import version

    from rooftree.cli.installed import installed_plugins
    from rooftree.cli.presentation import tell

    try:
        names = names_of(name, shape)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    installed = installed_plugins(f"rooftree.{'boards' if shape == 'board' else 'plugins'}")
    owner = next((plugin.distribution for plugin in installed if plugin.name == name), None)
    if owner is not None:
        raise click.BadParameter(f"{name!r} is taken: {owner}, which is installed, is called so", param_hint="NAME")
    folder = into / names["distribution"]
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise click.ClickException(f"{folder} is there already; nothing was changed") from None
    except OSError as error:
        raise click.ClickException(f"{folder} can't be made: {error.strerror}") from None
    _write(shape, folder, {**names, "rooftree": version("rooftree")})
    next_step = {
        "package": "README.md says what comes next",
        "one_file": f"`rooftree run --plugin {names['package']}.py` runs it, and loads it anew with each save",
        "board": f"`uv pip install --editable .` installs it, and Rooftree, started again, has it at /os/boards/{name}",
    }
    what = "a board's driver" if shape == "board" else "a plugin"
    tell(f"{folder} is {what}. In it, `python -m pytest` runs its tests; {next_step[shape]}.")


def _write(shape: Shape, folder: Path, filled: Mapping[str, str]) -> None:
    """Fill the templates in; the path of one is its file's path, with placeholders and an ending of its own."""
    from string import Template

    skeleton = Path(__file__).with_name("skeleton") / shape
    for template in sorted(skeleton.rglob("*.template")):
        inner = template.relative_to(skeleton).with_suffix("")
        file = folder / Template(str(inner)).substitute(filled)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(template.read_text()).substitute(filled))
