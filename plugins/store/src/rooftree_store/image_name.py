"""The grammar of container image names in add-on configurations and build files."""

from __future__ import annotations

import re
from typing import Any, Final

from rooftree_store.readers import refused, shown, text

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT: Final = re.compile(r"[a-z0-9{][a-z0-9._{}-]*")

_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}")
_BASE_SEGMENT: Final = re.compile(r"[a-z0-9.:{}-]+")
_BASE_OWNER: Final = re.compile(r"[A-Za-z0-9_{}-]+")
_BASE_NAME: Final = re.compile(r"[A-Za-z0-9_{}-]+(?::[A-Za-z0-9._{}-]+)?")


def image_template(value: Any) -> str:
    """Read an add-on's ``image``: registry and path in lower case, no tag; ``{arch}`` and ``{machine}`` may stand in.

    The version is the tag, so one in the name is refused. The first segment is a registry if it is ``localhost``, has
    a ``.`` or ``:``, or has an upper-case letter.
    """
    registry, components = _split(text(value))
    if registry is not None and _HOST.fullmatch(registry) is None:
        raise refused(f"has the registry {shown(registry)}, which is not a lower-case host name with an optional port")
    if any(":" in component for component in components):
        raise refused("must not have a tag: the add-on's version is the tag")
    for component in components:
        if _COMPONENT.fullmatch(component) is None:
            raise refused(f"has the part {shown(component)}; allowed are a-z 0-9 . - _ {{ }}, the first a-z 0-9 or {{")
    return str(value)


def _split(name: str) -> tuple[str | None, list[str]]:
    first, slash, rest = name.partition("/")
    is_registry = first == "localhost" or "." in first or ":" in first or first.lower() != first
    if slash and is_registry:
        return first, rest.split("/")
    return None, name.split("/")


def base_image(value: Any) -> str:
    """Read an image of ``build_from``: at least ``owner/name``, registry segments before it, a tag after it."""
    parts = text(value).split("/")
    if len(parts) < 2 or not _is_base_image(parts):
        raise refused(f"must be an image such as ghcr.io/owner/name:tag, not {shown(value)}")
    return str(value)


def is_image(value: str) -> bool:
    """Whether a text may be the name of an image; the engine and the registry know more."""
    return _IMAGE.fullmatch(value) is not None


def _is_base_image(parts: list[str]) -> bool:
    *segments, owner, name = parts
    return (
        all(_BASE_SEGMENT.fullmatch(segment) for segment in segments)
        and _BASE_OWNER.fullmatch(owner) is not None
        and _BASE_NAME.fullmatch(name) is not None
    )
