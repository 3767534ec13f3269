"""A vault whose key is found at once.

restic makes a password dear to guess: to open a vault takes it a tenth of a second of a processor, which was more than
half of what each of its calls took in tests, and no test is about guessing. Its format (Keys, Encryption and MAC in
restic's design document) lets who makes a key choose the cost, and restic takes what is written in it.
"""

from __future__ import annotations

import base64
import json
import os
from hashlib import scrypt, sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

CHEAPEST = {"N": 2, "r": 1, "p": 1}
MAC_BYTES, NONCE_BYTES = 16, 16


def make_cheap(vault: Path, password: str) -> None:
    """Replace the only key of a vault by one that opens it with the same password, and as good as no work."""
    (path,) = (vault / "keys").iterdir()
    key = json.loads(path.read_bytes())
    master = _opened(base64.b64decode(key["data"]), _user_key(key, password))
    key |= CHEAPEST
    key["data"] = base64.b64encode(_sealed(master, _user_key(key, password))).decode()
    text = json.dumps(key).encode()
    path.with_name(sha256(text).hexdigest()).write_bytes(text)
    path.unlink()


def _user_key(key: dict[str, Any], password: str) -> bytes:
    cost = {name.lower(): key[name] for name in CHEAPEST}
    return scrypt(password.encode(), salt=base64.b64decode(key["salt"]), dklen=64, maxmem=2**27, **cost)


def _opened(sealed: bytes, key: bytes) -> bytes:
    nonce, text, mac = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:-MAC_BYTES], sealed[-MAC_BYTES:]
    assert _mac(text, nonce, key) == mac, "the password is not that of the vault"
    return _counted(text, nonce, key)


def _sealed(text: bytes, key: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    hidden = _counted(text, nonce, key)
    return nonce + hidden + _mac(hidden, nonce, key)


def _counted(text: bytes, nonce: bytes, key: bytes) -> bytes:
    """AES-256 in counter mode, which is its own way back."""
    return Cipher(algorithms.AES(key[:32]), modes.CTR(nonce)).encryptor().update(text)


def _mac(text: bytes, nonce: bytes, key: bytes) -> bytes:
    """Poly1305 with AES-128."""
    secret = Cipher(algorithms.AES(key[32:48]), modes.ECB()).encryptor().update(nonce)
    return Poly1305.generate_tag(key[48:64] + secret, text)
