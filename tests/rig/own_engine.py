"""A Docker Engine that belongs to one test, which may stop, hang and kill it.

It has folders, a socket and a containerd of its own beside the machine's engine, and keeps its hands off the firewall
that they would share: what its containers may reach is said with :func:`open_firewall`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from tests.rig.engine import Engine
from tests.rig.waiting import wait_until

START_S = 30.0
STOP_S = 30.0


class OwnEngine(Engine):
    """The engine as a process."""

    def __init__(self, folder: Path, bridge: str) -> None:
        self.bridge = bridge
        self.url = f"unix://{folder}/docker.sock"
        super().__init__(self.url)
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises :class:`RuntimeError` with its log when it ends instead."""
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    f"--host={self.url}",
                    f"--data-root={self.folder}/data",
                    f"--exec-root={self.folder}/exec",
                    f"--pidfile={self.folder}/pid",
                    f"--bridge={self.bridge}",  # "none" would take the docker0 of the machine's engine away
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-forward=false",
                    "--ip-masq=false",
                    "--userland-proxy=false",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(self._answers, within_s=START_S, what="the answer of an engine of our own")

    def stop(self) -> None:
        """SIGTERM, as a service manager does: its containers end with it."""
        assert self._process is not None
        self.resume()
        self._process.terminate()
        self._process.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL, as a crash does: its containers go on without it until it is back."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)
        # Its containerd died with it, but looks alive to the next one until somebody reaps it.
        (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def hang(self) -> None:
        """SIGSTOP: it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def take(self, image: str, other: Engine) -> None:
        """Get an image from another engine."""
        saved = self.folder / "image.tar"
        other.run("save", "--output", saved, image)
        self.run("load", "--quiet", "--input", saved)
        saved.unlink()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        if not self.running:
            raise RuntimeError(f"dockerd ended instead of answering:\n{(self.folder / 'log').read_text()}")
        with contextlib.suppress(RuntimeError):
            return bool(self.run("version", "--format", "{{.Server.Version}}"))
        return False


@contextmanager
def own_engine(subnet: str, *, disk_mib: int | None = None) -> Iterator[OwnEngine]:
    """An engine of its own that runs, with ``subnet`` for its default network; at the end nothing of it is left.

    :param disk_mib: how much room it has for images and containers, on a disk of its own; else that of the machine
    """
    folder = Path(tempfile.mkdtemp(prefix="rte-"))  # short, because of the sockets in it
    with _bridge(subnet) as bridge:
        if disk_mib is not None:
            (folder / "data").mkdir()
            size = f"size={disk_mib}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder / "data"], check=True)
        engine = OwnEngine(folder, bridge)
        try:
            engine.start()
            yield engine
        finally:
            if engine.running:
                engine.resume()
                containers = engine.run("ps", "--all", "--quiet").split()
                if containers:
                    engine.run("rm", "--force", "--volumes", *containers)
                engine.run("network", "prune", "--force")  # their bridges would outlive it
                engine.stop()
            _unmount_below(folder)
            shutil.rmtree(folder)


@contextmanager
def _bridge(subnet: str) -> Iterator[str]:
    """A bridge of that subnet on the host, under a name of its own."""
    network = IPv4Network(subnet)
    name = f"rte{secrets.token_hex(4)}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        address = f"{network[1]}/{network.prefixlen}"
        subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


@contextmanager
def open_firewall(subnet: str) -> Iterator[None]:
    """Let the containers of a subnet reach each other, which the machine's own engine forbids to bridges it has not
    made (its policy for FORWARD is DROP, and bridged packets pass it too)."""
    rule = ["FORWARD", "--source", subnet, "--destination", subnet, "--jump", "ACCEPT"]
    subprocess.run(["iptables", "--wait", "--insert", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "--wait", "--delete", *rule], check=True)


def _unmount_below(folder: Path) -> None:
    """Take away the mounts that an engine leaves of namespaces and layers."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}{os.sep}")]):
        subprocess.run(["umount", "--lazy", mount], check=True)
