"""SecureTar: how an inner archive is encrypted, in the three versions that there are (2 and 3 are written).

Headers and keys are the library's (``securetar``), ciphers those of ``cryptography`` and ``PyNaCl``. What the library's
own streams let pass is refused here: a length that is not what the header says, an end that is no end, wrong padding.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from attrs import frozen
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from nacl.bindings import crypto_secretstream as stream
from nacl.exceptions import CryptoError
from securetar import (
    InvalidPasswordError,
    SecureTarDerivedKeyMaterial,
    SecureTarHeader,
    SecureTarRootKeyContext,
)

from rooftree_archives.beginnings import SIZE, looks_plain, password_refused
from rooftree_archives.faults import Damaged
from rooftree_archives.pipeline import CHUNK, Chunk

_PIECE: Final = 1024 * 1024
"""Bytes that version 3 encrypts at a time."""
_OVERHEAD: Final = stream.crypto_secretstream_xchacha20poly1305_ABYTES
_MESSAGE: Final = stream.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL: Final = stream.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_AES_BLOCK: Final = 16
type Version = Literal[2, 3]


class Keys:
    """What a password opens or closes in one archive: the slow derivation is done once for all of its members."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._contexts: dict[tuple[int, bytes], SecureTarRootKeyContext] = {}
        self._writing = SecureTarRootKeyContext(password)

    def new(self, version: Version) -> SecureTarDerivedKeyMaterial:
        """Keys for another member that is written."""
        return self._writing.derive_key_material(None, version)

    def of(self, header: SecureTarHeader) -> SecureTarDerivedKeyMaterial:
        """The keys of a member. Raises ``PasswordRefused``."""
        salts = header.cipher_initialization[:64] if header.version == 3 else b""
        context = self._contexts.setdefault((header.version, salts), SecureTarRootKeyContext(self._password))
        try:
            return context.restore_key_material(header)
        except InvalidPasswordError:
            raise password_refused() from None


class Seal:
    """A stage that encrypts. What it gives first is a header whose size is not known yet; :meth:`header` is the true
    one, of the same length."""

    def __init__(self, keys: Keys, version: Version) -> None:
        self._version = version
        self._material = keys.new(version)
        self._size = 0
        self._waiting: list[Chunk] = []
        self._waiting_size = 0
        self._begun = False
        if version == 3:
            self._state = stream.crypto_secretstream_xchacha20poly1305_state()
            # the stream's own header is made already, with the key: so it is begun as a reader begins
            stream.crypto_secretstream_xchacha20poly1305_init_pull(self._state, self._material.iv, self._material.key)
        else:
            self._cipher = Cipher(AES(self._material.key), CBC(self._material.iv)).encryptor()
            self._padder = PKCS7(AES.block_size).padder()

    def header(self) -> bytes:
        """What stands before the encrypted bytes."""
        return SecureTarHeader(self._material.cipher_initialization, self._size, self._version).to_bytes()

    def take(self, chunk: Chunk) -> Iterable[Chunk]:
        """As ``Stage`` says."""
        if not self._begun:
            self._begun = True
            yield self.header()
        self._size += len(chunk)
        if self._version == 2:
            yield self._cipher.update(self._padder.update(bytes(chunk)))
            return
        self._waiting.append(chunk)
        self._waiting_size += len(chunk)
        while self._waiting_size > _PIECE:  # the last piece is marked, and may be whole
            data = b"".join(self._waiting)
            self._waiting = [data[_PIECE:]]
            self._waiting_size -= _PIECE
            yield self._push(data[:_PIECE], _MESSAGE)

    def end(self) -> Iterable[Chunk]:
        """As ``Stage`` says."""
        if self._version == 2:
            yield self._cipher.update(self._padder.finalize()) + self._cipher.finalize()
        else:
            yield self._push(b"".join(self._waiting), _FINAL)

    def _push(self, piece: bytes, tag: int) -> bytes:
        return stream.crypto_secretstream_xchacha20poly1305_push(self._state, piece, None, tag)


@frozen
class Opened:
    """An encrypted member that is about to be read."""

    version: int
    chunks: Iterator[Chunk]


def unseal(keys: Keys, read: Callable[[int, int], bytes], size: int) -> Opened:
    """Decrypt a member. Raises ``PasswordRefused`` and :class:`Damaged`, also while its bytes are read.

    :param read: gives so many bytes of the member, from there on, fewer at its end
    :param size: of the member, in bytes
    """
    header = _header(read(0, 200))
    material = keys.of(header)
    stored = size - header.size
    if header.version == 3:
        assert header.plaintext_size is not None
        pieces = max(1, -(-header.plaintext_size // _PIECE))
        if stored != header.plaintext_size + pieces * _OVERHEAD:
            raise Damaged("its encrypted part is not as long as it says")
        return Opened(3, _pulled(material, read, header.size, size))
    if header.version == 2:
        assert header.plaintext_size is not None
        if stored != header.plaintext_size // _AES_BLOCK * _AES_BLOCK + _AES_BLOCK:
            raise Damaged("its encrypted part is not as long as it says")
    if stored % _AES_BLOCK or not stored:
        raise Damaged("its encrypted part is cut off")
    beginning = Cipher(AES(material.key), CBC(material.iv)).decryptor().update(read(header.size, SIZE))
    if not looks_plain(beginning):
        raise password_refused()
    return Opened(header.version, _decrypted(material, read, header, size))


def _header(beginning: bytes) -> SecureTarHeader:
    if len(beginning) < _AES_BLOCK:
        raise Damaged("its header is cut off")
    try:
        header = SecureTarHeader.from_bytes(io.BytesIO(beginning))
        if header.plaintext_size is not None and header.to_bytes() != beginning[: header.size]:
            raise Damaged("its header is damaged")  # cut off, or bytes that have to be zero are not
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(f"its header can't be read: {error}") from None
    return header


def _pulled(
    material: SecureTarDerivedKeyMaterial, read: Callable[[int, int], bytes], at: int, size: int
) -> Iterator[Chunk]:
    state = stream.crypto_secretstream_xchacha20poly1305_state()
    stream.crypto_secretstream_xchacha20poly1305_init_pull(state, material.iv, material.key)
    while at < size:
        piece = read(at, _PIECE + _OVERHEAD)
        at += len(piece)
        try:
            plain, tag = stream.crypto_secretstream_xchacha20poly1305_pull(state, piece)
        except (CryptoError, ValueError):
            raise Damaged("its encrypted part was altered or cut off") from None
        if (tag == _FINAL) != (at == size):
            raise Damaged("its encrypted part was cut off or goes on behind its end")
        yield plain


def _decrypted(
    material: SecureTarDerivedKeyMaterial, read: Callable[[int, int], bytes], header: SecureTarHeader, size: int
) -> Iterator[Chunk]:
    decryptor = Cipher(AES(material.key), CBC(material.iv)).decryptor()
    unpadder = PKCS7(AES.block_size).unpadder()
    at, plain_size = header.size, 0
    while at < size:
        piece = read(at, CHUNK)
        at += len(piece)
        plain = decryptor.update(piece)
        if header.version == 1:  # how the first version padded its end differed: where the tar ends is what counts
            yield plain
            continue
        plain = unpadder.update(plain)
        plain_size += len(plain)
        yield plain
    if header.version == 1:
        return
    try:
        plain = unpadder.finalize()
    except ValueError:
        raise Damaged("its encrypted part was altered or cut off") from None
    if plain_size + len(plain) != header.plaintext_size:
        raise Damaged("its encrypted part is not as long as it says")
    yield plain
