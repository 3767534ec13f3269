"""A file server that a host mounts shares of, though its kernel has neither CIFS nor NFS: ``tests/rig/mount_share.py``
stands in for the mount helpers, with folders below ``/run/shares`` as servers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rooftree_mounts.mount_table import MountTable
from tests.host.rig.host import Host

RIG = Path(__file__).parents[2] / "rig"


@contextmanager
def file_server(host: Host, share: str) -> Iterator[Path]:
    """A server named ``nas`` with that share, in which lies ``hello.txt``; the folder of its shares."""
    host.run("sh", "-c", "mkdir -p /usr/lib/shares; [ -e /dev/fuse ] || mknod /dev/fuse c 10 229")
    for name in ("mount_share.py", "fuse_share.py"):
        content = (RIG / name).read_bytes()
        host.run("tee", f"/usr/lib/shares/{name}", data=content)
    for kind in ("cifs", "nfs"):
        helper = f"/usr/sbin/mount.{kind}"
        script = "#!/usr/bin/python3\nimport sys\nsys.path.insert(0, '/usr/lib/shares')\nimport mount_share\n"
        script += "mount_share.__file__ = '/usr/lib/shares/mount_share.py'\nmount_share.main()\n"
        host.run("tee", helper, data=script.encode())
        host.run("chmod", "+x", helper)
    folder = host.run_dir / "shares" / "nas"
    (folder / share).mkdir(parents=True)
    (folder / share / "hello.txt").write_text("hello from the share\n")
    yield folder
    if host.running:
        host.run("sh", "-c", "rm -rf /run/shares /usr/lib/shares /usr/sbin/mount.cifs /usr/sbin/mount.nfs")


def take_down(host: Host, data: Path) -> None:
    """Nothing is mounted there, on the host and here, and nothing is immutable."""
    if host.running:
        host.run("sh", "-c", "kill -KILL $(cat /run/shares/servers 2>/dev/null) 2>/dev/null || true")
        for mounted in reversed(MountTable.read().below(data)):
            host.run("sh", "-c", f"umount --lazy '{mounted.target}' || true")
    for mounted in reversed(MountTable.read().below(data)):
        subprocess.run(["umount", "--lazy", mounted.target], check=False)
    subprocess.run(["chattr", "-R", "-f", "-i", data], check=False, capture_output=True)
