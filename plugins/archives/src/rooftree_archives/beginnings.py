"""What something is, by the bytes that it begins with; without the libraries that encrypted archives need."""

from __future__ import annotations

from typing import Final

from rooftree_archives.faults import PasswordRefused

SIZE: Final = 512
"""So many bytes are enough to tell."""
GZIP: Final = b"\x1f\x8b"
_SECURETAR: Final = b"SecureTar"


def looks_plain(beginning: bytes) -> bool:
    """Whether an inner archive begins like this when it is not encrypted: as gzip, or as tar."""
    return beginning[:3] == GZIP + b"\x08" or beginning[257:262] == b"ustar" or not beginning.strip(b"\0")


def sealed_version(beginning: bytes) -> int:
    """The version of SecureTar that an inner archive says it is of; 0 for none, which may yet be the first."""
    return beginning[9] if beginning.startswith(_SECURETAR) and len(beginning) > 9 else 0


def password_refused(more: str = "") -> PasswordRefused:
    """The error whose words Core goes by."""
    return PasswordRefused(f"Invalid password for backup{more}")
