"""What Core's certificate is held against, where Core is reached over TLS.

Core is reached by an address, and its certificate is for its user's names, so names are not compared. A certificate is
good when an authority of this system vouches for it, or when it (or what signed it) lies in the folder ``ssl``, where
Core's users keep theirs. One that neither vouches for, such as one that Core has made itself, is taken as it is as long
as no better one was seen: from then on, a worse one is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from rooftree import RooftreeError
from rooftree_files import Folder

log = structlog.get_logger(__name__)

_KINDS: Final = (".pem", ".crt", ".cer")
_LARGEST_BYTES: Final = 256 * 1024
_MOST_FILES: Final = 64


class CoreCertificates:
    """Remembers what was seen of Core's certificate.

    :param folder: where Core's users keep their certificates; it may be missing
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._was_checked = False
        self._complained = False

    async def strict(self) -> ssl.SSLContext:
        """What checks a certificate, by what is in the folder now."""
        return await asyncio.to_thread(self._read)

    def note_good(self) -> None:
        """A certificate was checked and found good."""
        self._was_checked = True

    def lenient(self, reason: str) -> ssl.SSLContext | None:
        """What takes a certificate that was not found good; ``None`` where a better one was seen before.

        :param reason: what was wrong with it
        """
        if self._was_checked:
            return None
        if not self._complained:
            log.warning("core_certificate_unchecked", reason=reason)
            self._complained = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # what is in the folder need not be an authority
        for text in self._texts():
            try:
                context.load_verify_locations(cadata=text)
            except ssl.SSLError:  # a key, or something else that has no certificate
                continue
        return context

    def _texts(self) -> Iterator[str]:
        """What is in the folder's files; add-ons may write there."""
        try:
            with Folder.open(self._folder) as folder:
                for name in [name for name in sorted(folder.names()) if name.endswith(_KINDS)][:_MOST_FILES]:
                    with contextlib.suppress(RooftreeError, OSError):
                        yield folder.read(name, _LARGEST_BYTES, links=True).decode("ascii", "replace")
        except (RooftreeError, OSError):
            return
