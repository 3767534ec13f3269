"""Core's secrets, which options may refer to.

The file stands in the folder of Core's configuration, in which add-ons may write: what another add-on has put there is
read as text that somebody wrote, and nothing outside of that folder for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from rooftree import Problem, RooftreeError
from rooftree_files import Folder, FolderMissing
from rooftree_store import SecretsUnreadable, parse_document

FOLDER: Final = "homeassistant"
FILE: Final = "secrets.yaml"
MOST_BYTES: Final = 1024 * 1024


PROBLEM: Final = "secrets_unreadable"
"""The type of the problem that says so."""


@frozen
class CoreSecrets:
    """What the file says, or why it can't be read."""

    values: Mapping[str, Any]
    unreadable: str | None = None

    def lookup(self, name: str) -> Any:
        """The value of that name, or ``None``; raises :class:`~rooftree_store.SecretsUnreadable` while it is not known
        whether there is one. Why stands in the problem only, for those who may see the file."""
        if self.unreadable is not None:
            raise SecretsUnreadable
        return self.values.get(name)

    @property
    def problem(self) -> Problem | None:
        """What to tell who looks after the file, while it can't be read."""
        if self.unreadable is None:
            return None
        return Problem(PROBLEM, "core", None, f"The file {FOLDER}/{FILE} can't be read: {self.unreadable}")


def core_secrets(data: Path) -> CoreSecrets:
    """What the file says; nothing where there is none. Blocks.

    A link is followed when it stays within the folder, as people have it who keep their configuration in git.
    """
    try:
        with Folder.open(data / FOLDER) as folder:  # a link there can only be root's: its parent is ours
            text = folder.read(FILE, MOST_BYTES, links=True)
        content = parse_document(text, FILE).content
    except (FileNotFoundError, FolderMissing):
        return CoreSecrets({})
    except RooftreeError as error:
        return CoreSecrets({}, error.message)
    except OSError as error:
        return CoreSecrets({}, error.strerror or str(error))
    return CoreSecrets(
        {str(name): value for name, value in content.items() if isinstance(value, str | int | float | bool)}
    )
