"""Images that the operator wants signed: which, by whom, and whether one is.

Signatures are those that ``cosign sign --key`` puts into the image's own registry. What is signed is a digest, so an
image is looked up once, and then fetched by the digest that was found signed, whatever its tag means by then. What is
not understood is no signature.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from rooftree.errors import Invalid
from rooftree.interfaces.containers import PullFailed
from rooftree_docker.image_reference import DOCKER_HUB, ImageReference
from rooftree_docker.registry import AnswerRefused, Registry
from rooftree_docker.signature_bundles import check_bundles
from rooftree_docker.signature_check import Doubt, Question, Reason, any_holds
from rooftree_docker.simple_signing import check_simple_signing

if TYPE_CHECKING:
    from rooftree_docker.public_keys import PublicKey

SETTING: Final = "[[plugins.docker.signed_images]]"


class SignatureRefused(PullFailed):
    """The image must be signed, and is not as the operator wants it.

    ``extra_fields``: ``image``, and ``reason``: ``no_key``, ``unsigned``, ``unreadable``, ``another_key`` or
    ``another_image``.
    """

    status = 400
    error_key = "image_signature_error"


def _is_beginning(_: object, __: object, text: str) -> None:
    pattern = f"{text}any/any" if text.endswith("/") else text
    try:
        proper = ImageReference.parse(pattern).repository
    except Invalid:
        proper = ""
    if not text or pattern != proper:
        raise ValueError(
            "images must be an image's name without a tag, or the beginning of names that ends with /, the registry "
            f"first: ghcr.io/acme/hello, ghcr.io/acme/, {DOCKER_HUB}/acme/, {DOCKER_HUB}/library/alpine; not {text!r}"
        )


def _is_absolute(_: object, __: object, path: Path) -> None:
    if not path.is_absolute():
        raise ValueError(f"key must be the whole path of a file, such as /etc/rooftree/acme.pub, not {str(path)!r}")


@frozen
class SignedImages:
    """``[[plugins.docker.signed_images]]`` in rooftree.toml: images that are only fetched when they are signed."""

    images: str = field(validator=_is_beginning)
    """Their name, or the beginning of their names, which ends with ``/``; the registry comes first. Those of Docker Hub
    are written ``docker.io/acme/hello``, its official ones ``docker.io/library/alpine``."""
    key: Path = field(validator=_is_absolute)
    """The file with the public key of who signs them, in PEM, as ``cosign generate-key-pair`` makes it. It is read at
    each pull."""

    def cover(self, repository: str) -> bool:
        """Whether an image of that whole name is meant."""
        return repository.startswith(self.images) if self.images.endswith("/") else repository == self.images


@frozen
class SignaturePolicy:
    """Which images must be signed.

    Of several entries for an image those with the longest name decide; where several have it (while one key follows
    another) a signature with any of their keys will do.
    """

    entries: tuple[SignedImages, ...] = ()

    def keys_for(self, reference: ImageReference) -> tuple[Path, ...]:
        """The files with the keys one of which must have signed that image; none where it need not be signed."""
        meant = [entry for entry in self.entries if entry.cover(reference.repository)]
        longest = max((len(entry.images) for entry in meant), default=0)
        return tuple(entry.key for entry in meant if len(entry.images) == longest)


async def signed_digest(registry: Registry, reference: ImageReference, key_files: Sequence[Path]) -> str:
    """The digest of what ``reference`` stands for in its registry, which one of the keys has signed.

    Raises :class:`SignatureRefused`, and what :func:`~rooftree_docker.registry.registry_of` names.
    """
    keys = await asyncio.to_thread(_read_keys, reference, key_files)
    manifest = await registry.manifest(reference.digest or reference.tag or "latest")
    if reference.digest not in {None, manifest.digest}:
        raise AnswerRefused(f"the registry sent something else than {reference.digest}")
    question = Question(registry, keys, reference, manifest.digest)
    try:
        await any_holds(partial(check, question) for check in _FORMATS)
    except Doubt as doubt:
        wanted = f"{reference} must be signed with {' or '.join(map(str, key_files))} ({SETTING} in rooftree.toml)"
        raise SignatureRefused(
            f"{wanted}, and {_SAID[doubt.reason].format(detail=doubt, digest=manifest.digest)}. It was not fetched",
            image=str(reference),
            reason=doubt.reason,
        ) from None
    return manifest.digest


_FORMATS: Final = (check_simple_signing, check_bundles)
_SAID: Final[Mapping[Reason, str]] = {
    "unsigned": "its registry has no signature of what it has under that name, {digest}",
    "unreadable": "what its registry has as the signature of {digest} is none that can be read: {detail}",
    "another_key": "the signature of {digest} in its registry was made with another key, or what it signs was changed",
    "another_image": "the signature of {digest} in its registry is for another image: it names {detail}",
}


def _read_keys(reference: ImageReference, key_files: Sequence[Path]) -> tuple[PublicKey, ...]:
    from rooftree_docker.public_keys import KeyUnusable, read_key  # noqa: PLC0415  # 10 MB, for those who set a key

    keys = []
    for path in key_files:
        try:
            keys.append(read_key(path))
        except KeyUnusable as error:
            raise SignatureRefused(
                f"{reference} must be signed, and the key file {path} ({SETTING} in rooftree.toml) cannot be used: "
                f"{error}. Put the public key there of who signs the image, in PEM; until then it is not fetched",
                image=str(reference),
                reason="no_key",
            ) from None
    return tuple(keys)
