# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree new-plugin``: a plugin to begin with, complete, whose tests pass.

The texts are in ``skeleton/``, as templates of the standard library: a few names are all that is to be filled in, and a
tool such as copier would bring seventeen more packages into the daemon's environment for it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

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


def names_of(name: str) -> Mapping[str, str]:
    """What is filled in, by placeholder; raises ``ValueError`` for a name that no plugin can have."""
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be the name of a plugin: it has to be {ALLOWED}")
    if name in TAKEN:
        raise ValueError(f"{name!r} can't be the name of a plugin: it is one of {', '.join(sorted(TAKEN))}")
    words = name.split("-")
    package = f"rooftree_{'_'.join(words)}"
    return {
        "name": name,
        "distribution": f"rooftree-{name}",
        "package": package,
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
def new_plugin(name: str, into: Path) -> None:
    """Write a plugin to begin with: complete, typed, and with tests that pass.

    NAME is the plugin's domain, such as weather-station. The folder is rooftree-NAME.
    """
    from importlib.metadata import version

    from rooftree.cli.installed import installed_plugins
    from rooftree.cli.presentation import tell

    try:
        names = names_of(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    owner = next((plugin.distribution for plugin in installed_plugins() if plugin.name == name), None)
    if owner is not None:
        raise click.BadParameter(f"{name!r} is taken: {owner}, which is installed, is called so", param_hint="NAME")
    folder = into / names["distribution"]
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise click.ClickException(f"{folder} is there already; nothing was changed") from None
    except OSError as error:
        raise click.ClickException(f"{folder} can't be made: {error.strerror}") from None
    _write(folder, {**names, "rooftree": version("rooftree")})
    tell(f"{folder} is a plugin. In it, `uv run pytest` runs its tests; README.md says what comes next.")


def _write(folder: Path, filled: Mapping[str, str]) -> None:
    """Fill the templates in; the path of one is its file's path, with placeholders and an ending of its own."""
    from string import Template

    skeleton = Path(__file__).with_name("skeleton")
    for template in sorted(skeleton.rglob("*.template")):
        inner = template.relative_to(skeleton).with_suffix("")
        file = folder / Template(str(inner)).substitute(filled)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(template.read_text()).substitute(filled))
