"""A vault on another machine, over SSH: a real sshd on this one's loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.plugins.backups_vault.vault_house import VaultHouse, needs_restic
from tests.requirements import needs
from tests.rig.service_process import free_port

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    needs_restic,
    needs(SSHD is not None, "sshd is not installed (package openssh-server)"),
    needs(os.geteuid() == 0, "only root can run an sshd that lets root in"),
]


@frozen
class SshServer:
    """An sshd."""

    port: int
    folder: Path

    @property
    def place(self) -> str:
        """Where a vault lies on it."""
        return f"sftp://root@127.0.0.1:{self.port}/{self.folder}/vault"

    @property
    def known(self) -> str:
        """Its line of known_hosts."""
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}"

    @property
    def key(self) -> str:
        """The private key that it lets in."""
        return (self.folder / "user").read_text()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SshServer]:
    """One that lets a key of the test's in, and offers files alone."""
    folder, port = tmp_path / "ssh", free_port()
    await asyncio.to_thread(_prepare, folder, port)
    assert SSHD is not None
    child = await asyncio.create_subprocess_exec(SSHD, "-D", "-e", "-f", str(folder / "config"),
                                                 stderr=asyncio.subprocess.PIPE)  # fmt: skip
    try:
        assert child.stderr is not None
        while b"listening" not in (line := await child.stderr.readline()):
            assert line, "sshd has ended"
        draining = asyncio.create_task(child.stderr.read())
        yield SshServer(port, folder)
        draining.cancel()
    finally:
        child.terminate()
        await child.wait()


def _prepare(folder: Path, port: int) -> None:
    folder.mkdir(mode=0o700)
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, empty; without it there is none
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
        "Subsystem sftp internal-sftp\n"
    )


async def test_vault_on_another_machine_is_made_filled_and_read(house: VaultHouse, server: SshServer) -> None:
    body = {"name": "loft", "place": server.place, "ssh_key": server.key, "ssh_hosts": server.known}

    made = await house.client.post("/kernel/v1/vaults", json=body)

    assert made.status == 200, made.text
    assert (server.folder / "vault" / "config").exists()
    assert server.key not in made.text
    checked = await house.client.post("/kernel/v1/vaults/loft/check", json={})
    assert checked.status == 200


async def test_server_that_is_not_known_and_key_that_is_not_let_in_are_refused(
    house: VaultHouse, server: SshServer, tmp_path: Path
) -> None:
    body = {"name": "loft", "place": server.place, "ssh_key": server.key, "ssh_hosts": ""}
    stranger = tmp_path / "stranger"
    await asyncio.to_thread(
        subprocess.run, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True
    )

    unknown = await house.client.post("/kernel/v1/vaults", json=body)
    refused = await house.client.post(
        "/kernel/v1/vaults", json={**body, "ssh_hosts": server.known, "ssh_key": stranger.read_text()}
    )

    assert (unknown.status, unknown.envelope["error_key"]) == (503, "vault_unreachable_error")
    assert "The server is none of those that are trusted" in unknown.envelope["message"]
    assert (refused.status, refused.envelope["error_key"]) == (503, "vault_unreachable_error")
    assert "The server does not accept the SSH key" in refused.envelope["message"]
    assert not (server.folder / "vault").exists()
