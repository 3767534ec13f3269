"""The version file of a channel, understood: which versions there are of Core, the operating system and the base
services, and where they come from.

The file is JSON. What one of its keys says wrongly, or not at all, is missing for whoever asks for that key, and for
nobody else: one new board with a slip in its version must not keep everybody from their updates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import aiohttp
import orjson
import structlog
from attrs import field, frozen

log = structlog.get_logger(__name__)

LARGEST_BYTES: Final = 1024 * 1024
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,127}")
"""What may stand in the tag of an image, in a file's name and in an address."""
_TEMPLATE: Final = re.compile(r"[0-9A-Za-z{][0-9A-Za-z._/:{}-]{0,254}")
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,1000}")
_SERVICES: Final = ("audio", "cli", "dns", "multicast", "observer")


@frozen(kw_only=True)
class Versions:
    """What the file says."""

    core: dict[str, str] = field(factory=dict)
    """The newest Core by machine; ``default`` is for one that nobody has a word for."""
    os: dict[str, str] = field(factory=dict)
    """The newest operating system by board."""
    last_of_major: dict[str, str] = field(factory=dict)
    """The operating system's last release by major version, through which the way to the next leads."""
    os_bundle: str | None = None
    """The address of a bundle, with ``{version}``, ``{board}`` and ``{os_name}`` in it."""
    services: dict[str, str] = field(factory=dict)
    """The newest base services by name."""
    images: dict[str, str] = field(factory=dict)
    """Images without a tag by name (``core``, ``dns`` …), with ``{machine}`` or ``{arch}`` in them."""


def changed_parts(before: Versions, now: Versions) -> tuple[str, ...]:
    """Of what one reading says something else than the one before, in the words of
    :class:`~rooftree.interfaces.versions.VersionsChanged`."""

    def told(versions: Versions) -> dict[str, tuple[object, ...]]:
        images = {name: image for name, image in versions.images.items() if name != "core"}
        return {
            "core": (versions.core, versions.images.get("core")),
            "os": (versions.os, versions.last_of_major, versions.os_bundle),
            "services": (versions.services, images),
        }

    old, new = told(before), told(now)
    return tuple(part for part in new if new[part] != old[part])


def understood(text: bytes, channel: str | None) -> Versions:
    """What the file says; raises ``ValueError`` for what is none, or is another channel's.

    :param channel: what the file must say that it is of; ``None``: anything
    """
    raw = orjson.loads(text)
    if not isinstance(raw, dict):
        raise ValueError("it is no JSON object")
    if channel is not None and raw.get("channel") != channel:
        raise ValueError(f"its channel is {raw.get('channel')!r}, not {channel!r}")
    reader = _Reader(raw)
    versions = Versions(
        core=reader.table("homeassistant", _VERSION),
        os=reader.table("hassos", _VERSION),
        last_of_major=reader.table("hassos-upgrade", _VERSION),
        os_bundle=reader.text("ota", _ADDRESS),
        services=reader.texts(_SERVICES, _VERSION),
        images=reader.table("images", _TEMPLATE),
    )
    if reader.refused:
        log.warning("versions_not_understood", keys=sorted(reader.refused))
    return versions


class _Reader:
    """Takes what is of the right form, and notes the keys of what is not."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self.refused: list[str] = []

    def text(self, key: str, form: re.Pattern[str]) -> str | None:
        return self._checked(key, self._raw[key], form) if key in self._raw else None

    def texts(self, keys: Iterable[str], form: re.Pattern[str]) -> dict[str, str]:
        return {key: value for key in keys if (value := self.text(key, form)) is not None}

    def table(self, key: str, form: re.Pattern[str]) -> dict[str, str]:
        values = self._raw.get(key, {})
        if not isinstance(values, dict):
            self.refused.append(key)
            return {}
        checked = {name: self._checked(f"{key}.{name}", value, form) for name, value in values.items()}
        return {name: value for name, value in checked.items() if value is not None}

    def _checked(self, key: str, value: object, form: re.Pattern[str]) -> str | None:
        if isinstance(value, str) and form.fullmatch(value):
            return value
        self.refused.append(key)
        return None


async def fetched(address: str) -> bytes:
    """What lies at an address; raises ``aiohttp.ClientError``, ``OSError``, and ``ValueError`` for what is too long."""
    headers = {"User-Agent": "rooftree", "Accept": "application/json"}
    async with (
        aiohttp.ClientSession(trust_env=True, headers=headers, raise_for_status=True) as session,
        session.get(address) as answer,
    ):
        text = bytearray()
        async for chunk in answer.content.iter_chunked(65536):
            text += chunk
            if len(text) > LARGEST_BYTES:
                raise ValueError(f"it is longer than {LARGEST_BYTES} bytes")
        return bytes(text)
