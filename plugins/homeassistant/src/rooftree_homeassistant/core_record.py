"""What is set of Core, as its part of a backup has it: ``homeassistant.json`` in the shape of the existing supervisor.
An archive may be a stranger's, and very old: what is read from one is looked at like any other input."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import attrs
import orjson
from attrs import field, frozen

from rooftree import Invalid, RooftreeError, Secret, Unavailable, structure
from rooftree_containers.audio_device import AudioDeviceName
from rooftree_homeassistant.core_options import LARGEST_PORT, CoreOptions
from rooftree_homeassistant.home_assistant import CoreContainer

CORE_FILE: Final = "homeassistant.json"
MOST_BYTES: Final = 1024 * 1024


class CoreMetadataInvalid(Invalid):
    """What a backup says of Core can't be understood."""


@frozen(kw_only=True)
class CoreRecord:
    """What comes back with a restore; keys besides these say nothing to us, or are this machine's own affair."""

    port: int = field(default=CoreOptions().port)
    ssl: bool = False
    watchdog: bool = True
    refresh_token: Secret | None = field(default=None, repr=False)
    audio_input: AudioDeviceName | None = None
    audio_output: AudioDeviceName | None = None


def written(options: CoreOptions, installed: CoreContainer) -> bytes:
    token = None
    if options.refresh_token is not None:
        with suppress(Unavailable):  # what nobody can read here can't go along
            token = options.refresh_token.reveal()
    content = attrs.asdict(options, recurse=False) | {
        "version": installed.version,
        "image": installed.image.rpartition(":")[0],
        "override_image": options.image is not None,
        "refresh_token": token,
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def read(documents: Mapping[str, bytes]) -> tuple[CoreRecord | None, str | None]:
    """What was set of Core, and its version, where a part says so: very old ones say neither. Raises
    :class:`CoreMetadataInvalid`."""
    if CORE_FILE not in documents:
        return None, None
    try:
        content = orjson.loads(documents[CORE_FILE])
        if not isinstance(content, dict):
            raise Invalid("must be an object")
        known = {name: content[name] for name in attrs.fields_dict(CoreRecord) if name in content}
        record = structure(known, CoreRecord)
        if not 1 <= record.port <= LARGEST_PORT:
            raise Invalid(f"port: must be from 1 to {LARGEST_PORT}, not {record.port}")
    except (RooftreeError, orjson.JSONDecodeError) as error:
        reason = error.message if isinstance(error, RooftreeError) else "is not JSON"
        raise CoreMetadataInvalid(
            f"What the backup says of Home Assistant Core can't be understood: {CORE_FILE}: {reason}"
        ) from None
    return record, _version(content)


def _version(content: Mapping[str, Any]) -> str | None:
    version = content.get("version")
    return version if isinstance(version, str) and version else None
