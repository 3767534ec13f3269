"""Whether an image is signed: what the formats of signatures share, and why something is no signature."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from attrs import frozen

from rooftree_docker.image_reference import ImageReference
from rooftree_docker.registry import Content, Registry, RegistryError

if TYPE_CHECKING:
    from rooftree_docker.public_keys import PublicKey

LONGEST_SIGNATURE: Final = 8 * 1024
"""Characters, in base64."""
MOST_SIGNATURES: Final = 32
"""Of one image and in one format, that are looked at."""
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)

type Reason = Literal["no_key", "unsigned", "unreadable", "another_key", "another_image"]
_NEAREST: Final[tuple[Reason, ...]] = ("unsigned", "unreadable", "another_key", "another_image")
"""The last is nearest to a signature that holds."""


class Doubt(Exception):
    """Something is no signature of the image, by whom it should be.

    :param detail: what of it is so, as a part of a sentence
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


@frozen
class Question:
    """Has one of the keys signed that image?"""

    registry: Registry
    keys: tuple[PublicKey, ...]
    reference: ImageReference
    digest: str
    """Of the image."""

    def signed(self, content: bytes, signature: bytes) -> None:
        """Raise :class:`Doubt` unless one of the keys made ``signature`` of ``content``."""
        if not any(key.signed(content, signature) for key in self.keys):
            raise Doubt("another_key")


async def any_holds(checks: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Go through the checks until one raises no :class:`Doubt`; where all do, raise that which came nearest."""
    doubts = []
    for check in checks:
        try:
            await check()
        except Doubt as doubt:
            doubts.append(doubt)
        else:
            return
    raise max(doubts, key=lambda doubt: _NEAREST.index(doubt.reason), default=Doubt("unsigned"))


async def fetched(asked: Awaitable[Content], missing: Reason) -> Content:
    """What the registry was asked for. Raises :class:`Doubt` when it has none, or sends what can't be that.

    :param missing: the reason when there is none
    """
    try:
        return await asked
    except RegistryError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise Doubt(missing, "a part of it is not in the registry") from None
        if error.status:
            raise
        raise Doubt("unreadable", str(error)) from None


def parsed(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises :class:`Doubt`."""
    try:
        value = orjson.loads(content)
    except ValueError:
        raise Doubt("unreadable", "a part of it is no JSON") from None
    return table(value)


def table(value: object) -> dict[str, Any]:
    """``value`` if it is a JSON object. Raises :class:`Doubt`."""
    if not isinstance(value, dict):
        raise Doubt("unreadable", "a part of it has not the form that it must have")
    return value


def tables(value: object) -> list[Mapping[str, Any]]:
    """The objects in ``value``, if it is a list. Raises :class:`Doubt`."""
    if not isinstance(value, list):
        raise Doubt("unreadable", "a part of it has not the form that it must have")
    return [entry for entry in value if isinstance(entry, dict)]


def decoded(value: object, longest: int, what: str) -> bytes:
    """The bytes that a text in base64 stands for. Raises :class:`Doubt`.

    :param longest: characters that it may have
    :param what: its name, for the doubt
    """
    if not isinstance(value, str) or len(value) > longest:
        raise Doubt("unreadable", f"it has no {what} of at most {longest} characters")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise Doubt("unreadable", f"its {what} is no base64") from None
