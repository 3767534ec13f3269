"""Core's secrets, which options may refer to.

The file stands in the folder of Core's configuration, in which add-ons may write: what another add-on has put there is
read as text that somebody wrote, and nothing outside of that folder for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from rooftree import RooftreeError
from rooftree_files import Folder, FolderMissing
from rooftree_store import parse_document

log = structlog.get_logger(__name__)

FOLDER: Final = "homeassistant"
FILE: Final = "secrets.yaml"
MOST_BYTES: Final = 1024 * 1024


def core_secrets(data: Path) -> Mapping[str, Any]:
    """The values by name; none where the file is missing or cannot be read. Blocks.

    A link is followed when it stays within the folder, as people have it who keep their configuration in git.
    """
    try:
        with Folder.open(data / FOLDER) as folder:  # a link there can only be root's: its parent is ours
            text = folder.read(FILE, MOST_BYTES, links=True)
        content = parse_document(text, FILE).content
    except (FileNotFoundError, FolderMissing):
        return {}
    except (RooftreeError, OSError) as error:
        log.warning("secrets_unreadable", reason=str(error))
        return {}
    return {str(name): value for name, value in content.items() if isinstance(value, str | int | float | bool)}
