"""Public keys in files, and what was signed with the private ones that belong to them.

The algorithms are those with which cosign signs: ECDSA on P-256 and P-384, RSA with PKCS #1 v1.5, Ed25519. Import this
where keys are used: the library behind it takes 10 MB, which only operators need to spend who want signatures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import frozen
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import load_pem_public_key

LARGEST_KEY_BYTES: Final = 64 * 1024
FEWEST_RSA_BITS: Final = 2048

type _Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey


class KeyUnusable(Exception):
    """There is no key in that file which we can check signatures with."""


@frozen
class PublicKey:
    """Whose signatures are wanted."""

    path: Path
    """Where it was read."""
    _key: _Key

    def signed(self, content: bytes, signature: bytes) -> bool:
        """Whether ``signature`` was made of ``content`` with this key's private half."""
        return any(self._holds(content, signature, algorithm) for algorithm in self._algorithms())

    def _algorithms(self) -> tuple[SHA256 | SHA384, ...]:
        # cosign signs with SHA-256 whatever the curve, its successor's bundles with the hash that fits the curve.
        is_p384 = isinstance(self._key, ec.EllipticCurvePublicKey) and self._key.curve.name == "secp384r1"
        return (SHA384(), SHA256()) if is_p384 else (SHA256(),)

    def _holds(self, content: bytes, signature: bytes, algorithm: SHA256 | SHA384) -> bool:
        try:
            match self._key:
                case ec.EllipticCurvePublicKey():
                    self._key.verify(signature, content, ec.ECDSA(algorithm))
                case rsa.RSAPublicKey():
                    self._key.verify(signature, content, padding.PKCS1v15(), algorithm)
                case Ed25519PublicKey():
                    self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


def read_key(path: Path) -> PublicKey:
    """The public key in a PEM file. Raises :class:`KeyUnusable`. Blocks: call it in a thread."""
    try:
        with path.open("rb") as file:  # ours: the operator's
            content = file.read(LARGEST_KEY_BYTES)
    except OSError as error:
        raise KeyUnusable(error.strerror or type(error).__name__) from None
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        what = "a private key" if b"PRIVATE KEY-----" in content else "no public key in PEM"
        raise KeyUnusable(f"it holds {what}") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < FEWEST_RSA_BITS:
        raise KeyUnusable(f"its RSA key has {key.key_size} bits, and must have {FEWEST_RSA_BITS} or more")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in {"secp256r1", "secp384r1"}:
        raise KeyUnusable(f"its key is on the curve {key.curve.name}, and must be on P-256 or P-384")
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey):
        raise KeyUnusable("its key is for none of ECDSA, RSA and Ed25519")
    return PublicKey(path, key)
