"""Secrets that must be used again, such as passwords for registries: kept so that they are never shown by accident.

A :class:`Secret` comes in with a request's body as plain text and goes into a document; there it is sealed where the
service manager hands over a key, and plain otherwise, in a database that only the daemon's user can read. Anywhere
else (an answer, an event, a step's arguments) it can't be written at all.

The key is the credential ``rooftree.secrets-key``: a file below ``$CREDENTIALS_DIRECTORY``, which systemd fills from
its ``LoadCredentialEncrypted=``, sealed to the machine's TPM (systemd.exec(5), systemd-creds(1)). Sealing is AES-256 in
GCM with a key derived from the file's content by HKDF-SHA256. A secret whose key is gone stays as it is, locked: with
the key it is there again, and without it its owner can hand over the value once more.
"""

from __future__ import annotations

import base64
import os
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from rooftree.errors import Invalid, Unavailable
from rooftree.model.conversion import converter, structure, unstructure

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CREDENTIAL: Final = "rooftree.secrets-key"
SHORTEST_KEY: Final = 32
"""Bytes of the credential; with fewer it is refused."""
_PLAIN: Final = "plain:"
_SEALED: Final = "sealed/1:"
_NONCE_BYTES: Final = 12


class SecretLocked(Unavailable):
    """A stored secret was sealed with a key that is not here."""

    error_key = "secret_locked_error"


class Secret:
    """A text that is shown to nobody.

    Declare a field of a request's body and of a document with this type. ``str()`` and ``repr()`` mask it; equal are
    secrets with equal texts.
    """

    __slots__ = ("_sealed", "_text")

    def __init__(self, text: str) -> None:
        self._text: str | None = text
        self._sealed = ""

    @classmethod
    def _locked(cls, sealed: str) -> Self:
        made = cls("")
        made._text, made._sealed = None, sealed
        return made

    @property
    def is_locked(self) -> bool:
        """Whether it was sealed with a key that is not here."""
        return self._text is None

    def reveal(self) -> str:
        """The text, for the one call that needs it; raises :class:`SecretLocked`."""
        if self._text is None:
            raise SecretLocked(
                f"A stored secret cannot be read: it was sealed with a key that is not here. Give the service the "
                f"credential {CREDENTIAL} again that it had, or set the value once more"
            )
        return self._text

    def __repr__(self) -> str:
        return "Secret(locked)" if self.is_locked else "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._text, self._sealed) == (other._text, other._sealed)

    def __hash__(self) -> int:
        return hash((self._text, self._sealed))


# --- how it is kept ---------------------------------------------------------------------------------------------------

_in_document: ContextVar[bool] = ContextVar("in_document", default=False)


def structure_document[T](value: object, kind: type[T]) -> T:
    """A document from its body; raises as :func:`~rooftree.model.conversion.structure` does."""
    token = _in_document.set(True)
    try:
        return structure(value, kind)
    finally:
        _in_document.reset(token)


def unstructure_document(document: object) -> Any:
    """A document's body."""
    token = _in_document.set(True)
    try:
        return unstructure(document)
    finally:
        _in_document.reset(token)


def _structure(value: Any, _: Any) -> Secret:
    if not isinstance(value, str):
        raise TypeError("must be a string")
    return _opened(value) if _in_document.get() else Secret(value)


def _unstructure(secret: Secret) -> str:
    if not _in_document.get():
        raise TypeError(
            "a Secret belongs into documents only: leave it out of answers, events and steps, and refer to it"
        )
    return secret._sealed if secret.is_locked else _sealed(secret.reveal())


converter.register_structure_hook(Secret, _structure)
converter.register_unstructure_hook(Secret, _unstructure)


def _sealed(text: str) -> str:
    key = _key()
    if key is None:
        return _PLAIN + text
    name, cipher = key
    nonce = os.urandom(_NONCE_BYTES)
    return f"{_SEALED}{name}:{base64.b64encode(nonce + cipher.encrypt(nonce, text.encode(), name.encode())).decode()}"


def _opened(kept: str) -> Secret:
    if kept.startswith(_PLAIN):
        return Secret(kept.removeprefix(_PLAIN))
    if not kept.startswith(_SEALED):
        raise ValueError("is not a secret as documents keep them")
    name, _, content = kept.removeprefix(_SEALED).partition(":")
    key = _key()
    if key is None or key[0] != name:
        return Secret._locked(kept)
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # 10 MB, which only a sealed secret is worth

    raw = base64.b64decode(content)
    try:
        return Secret(key[1].decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], name.encode()).decode())
    except InvalidTag:
        raise ValueError("is a sealed secret that somebody has changed") from None


def _key() -> tuple[str, AESGCM] | None:
    """The key's name and the key, where there is one; raises ``ValueError`` for one that is too short."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return _read_key(Path(folder) / CREDENTIAL) if folder else None


@lru_cache(maxsize=4)
def _read_key(path: Path) -> tuple[str, AESGCM] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < SHORTEST_KEY:
        raise ValueError(
            f"the credential {CREDENTIAL} must have {SHORTEST_KEY} random bytes or more, not {len(content)}"
        )
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # as above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    derived = HKDF(SHA256(), length=40, salt=None, info=b"rooftree secrets 1").derive(content)
    return derived[32:].hex(), AESGCM(derived[:32])


def check_key() -> None:
    """Raise :class:`~rooftree.errors.Invalid` where the service manager hands over a key that can't be one: to go on
    would be to take every sealed secret for damaged. Blocks: reads a file."""
    try:
        _key()
    except (OSError, ValueError) as error:
        raise Invalid(f"The key for secrets cannot be used: {error}") from None
