"""What a user sets of Core: kept whether Core is installed or not."""

from __future__ import annotations

import re
import secrets
from typing import Any, Final

import attrs
from attrs import field, frozen

from rooftree import UNSET, Invalid, Secret, Unset, document
from rooftree_containers.audio_device import AudioDeviceName

LARGEST_PORT: Final = 65_535
LONGEST_IMAGE: Final = 255
"""Characters of a name that engines take."""
_IMAGE: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._-]*(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
"""A name of an image without a tag, as registries take them."""


def new_uuid() -> str:
    """An id for an installation of Core, 32 hex digits."""
    return secrets.token_hex(16)


@document("homeassistant.options", version=1)
@frozen(kw_only=True)
class CoreOptions:
    """What was set through the API, and by Core itself of what it knows best: its port, and whether it speaks TLS."""

    uuid: str = field(factory=new_uuid)
    image: str | None = None
    """The image, without a tag, that the user chose; ``None``: the version feed's for this machine."""
    boot: bool = True
    """Whether Core is started with the host."""
    port: int = 80
    """Where Core's web page is; what a new Core under a supervisor begins with."""
    ssl: bool = False
    watchdog: bool = True
    refresh_token: Secret | None = field(default=None, repr=False)
    audio_input: str | None = None
    audio_output: str | None = None
    backups_exclude_database: bool = False
    duplicate_log_file: bool = False


def _is_port(_: object, field: attrs.Attribute[Any], value: int | Unset) -> None:
    if isinstance(value, int) and not 1 <= value <= LARGEST_PORT:
        raise ValueError(f"{field.alias}: must be from 1 to {LARGEST_PORT}, not {value}")


def _is_image(_: object, field: attrs.Attribute[Any], value: str | Unset | None) -> None:
    if isinstance(value, str) and (len(value) > LONGEST_IMAGE or _IMAGE.fullmatch(value) is None):
        raise ValueError(
            f"{field.alias}: must be the name of an image without a tag, such as "
            f"ghcr.io/home-assistant/generic-x86-64-homeassistant, with at most {LONGEST_IMAGE} characters, "
            f"not {value[:LONGEST_IMAGE]!r}"
        )


@frozen(kw_only=True)
class CoreOptionsChange:
    """The body of ``/core/options``: what is absent stays, what is null goes back to its default."""

    boot: bool | Unset = UNSET
    image: str | Unset | None = field(default=UNSET, validator=_is_image)
    port: int | Unset = field(default=UNSET, validator=_is_port)
    ssl: bool | Unset = UNSET
    watchdog: bool | Unset = UNSET
    refresh_token: Secret | Unset | None = field(default=UNSET, repr=False)
    audio_input: AudioDeviceName | Unset | None = UNSET
    audio_output: AudioDeviceName | Unset | None = UNSET
    backups_exclude_database: bool | Unset = UNSET
    duplicate_log_file: bool | Unset = UNSET

    def given(self) -> dict[str, Any]:
        """The fields of :class:`CoreOptions` that it sets; raises :class:`~rooftree.Invalid` where there is none."""
        given = attrs.asdict(self, recurse=False, filter=lambda _, value: value is not UNSET)
        if not given:
            allowed = ", ".join(sorted(attrs.fields_dict(type(self))))
            raise Invalid(f"The body has no option in it; give at least one of {allowed}")
        return given
