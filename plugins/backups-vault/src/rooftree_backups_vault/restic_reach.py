"""How restic reaches another machine: over SSH with our key and known servers alone, over TLS with whom we trust.

What it needs for that lies in a folder that nobody else may enter, and goes with the restic that needed it.
"""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from attrs import field, frozen

from rooftree.interfaces.vaults import VaultAccess
from rooftree_backups_vault import scratch

MOST_WORDS_BYTES: Final = 4096


@frozen
class Reach:
    """Options for restic, and what ssh has complained of."""

    options: Sequence[str] = ()
    _complaints: Path | None = field(default=None, alias="complaints")

    def complaints(self) -> bytes:
        """The last that ssh said; once restic has ended because of it, all of it is there. Blocks."""
        if self._complaints is None or not scratch.is_there(self._complaints):
            return b""
        return self._complaints.read_bytes()[-MOST_WORDS_BYTES:]  # ours: in a folder of our own


@asynccontextmanager
async def reach(vault: VaultAccess) -> AsyncIterator[Reach]:
    """How a vault is reached, for the length of a block."""
    if not (vault.repository.startswith("sftp:") or vault.ca_certificates):
        yield Reach()
        return
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="rooftree-vault-"))  # ours: nobody else may enter
    try:
        yield await asyncio.to_thread(_prepared, vault, folder)
    finally:
        await asyncio.to_thread(scratch.remove, folder)


def _prepared(vault: VaultAccess, folder: Path) -> Reach:
    if vault.repository.startswith("sftp:"):
        complaints = folder / "complaints"
        return Reach(("-o", f"sftp.command={shlex.join(_ssh_command(vault, folder, complaints))}"), complaints)
    trusted = folder / "trusted.pem"
    scratch.write(trusted, vault.ca_certificates.encode())
    return Reach(("--cacert", str(trusted)))


def _ssh_command(vault: VaultAccess, folder: Path, complaints: Path) -> Sequence[str]:
    """ssh(1). Nothing is asked: who is not known is refused. Its complaints go to a file: restic would pass them on,
    and often ends before it has."""
    user_and_host, port = _ssh_server(vault.repository)
    known = folder / "known_hosts"
    scratch.write(known, vault.ssh_hosts.encode())
    key: Sequence[str] = ()
    if vault.ssh_key is not None:
        path = folder / "key"
        path.touch(mode=0o600)  # ours: in a folder of our own
        scratch.write(path, vault.ssh_key.reveal().strip().encode() + b"\n")
        key = ("-i", str(path))
    options = ("-F", "/dev/null", "-E", str(complaints), "-oBatchMode=yes", "-oIdentitiesOnly=yes",
               "-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={known}",
               "-oConnectTimeout=20", "-oServerAliveInterval=20")  # fmt: skip
    return ("ssh", *options, *key, *(("-p", port) if port else ()), user_and_host, "-s", "sftp")


def _ssh_server(repository: str) -> tuple[str, str]:
    """User and host, and the port where there is one, of ``sftp:user@host:/path`` or ``sftp://user@host:port//path``."""
    rest = repository.removeprefix("sftp:")
    if not rest.startswith("//"):
        return rest.partition(":")[0], ""
    user_and_host, _, port = rest.removeprefix("//").partition("/")[0].partition(":")
    return user_and_host, port
