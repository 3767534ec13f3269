"""What mount(8) is told of a mount: what it is, its type and its options."""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

from rooftree_mounts.configuration import MountConfig

MOUNT_S: Final = 35
"""Seconds that mounting may take."""
_KERNEL_TYPES: Final = {"ntfs": "ntfs3"}
"""What the kernel calls a file system where it isn't what blkid calls it."""
_KNOWS_RETRANS: Final = (6, 12)
"""The first kernel with long support that has this option of CIFS. An older one refuses the whole mount for it, as
Debian 12's does, and asks once more where it has none."""


@frozen
class MountOrder:
    """One mount, for mount(8) or for a unit of systemd's."""

    source: str
    type: str
    options: tuple[str, ...]


def order_of(
    config: MountConfig,
    *,
    credentials: str | None = None,
    device: str | None = None,
    kernel: str | None = None,
) -> MountOrder:
    """How a mount is made.

    Nothing on it runs as another user, and nothing on it is a device: whoever writes there may be a stranger.

    :param credentials: of a CIFS share: the path of the file with user name and password, ``None`` for a guest
    :param device: of a disk: its node
    :param kernel: the release of the kernel that mounts, ``None`` for this one, which is the host's in a container too
    """
    common = ("nosuid", "nodev", *(["ro"] if config.read_only else []))
    port = () if config.port is None else (f"port={config.port}",)
    match config.type:
        case "cifs":
            login = "guest" if credentials is None else f"credentials={credentials}"
            retries = ("retrans=0",) if _version(kernel or os.uname().release) >= _KNOWS_RETRANS else ()
            version = () if config.version is None else (f"vers={config.version}",)
            options = (*common, *port, "noserverino", "soft", "echo_interval=10", *retries, *version, login)
            return MountOrder(f"//{config.server}/{config.share}", "cifs", options)
        case "nfs":
            server = (config.server or "").strip("[]")
            host = f"[{server}]" if ":" in server else server
            return MountOrder(f"{host}:{config.path}", "nfs", (*common, *port, "softerr", "timeo=100", "retrans=2"))
        case "disk":
            filesystem = config.filesystem or "auto"
            return MountOrder(device or f"UUID={config.uuid}", _KERNEL_TYPES.get(filesystem, filesystem), common)


def _version(release: str) -> tuple[int, ...]:
    """The first two numbers of a kernel's release: ``6.1.0-27-amd64``."""
    numbers = release.partition("-")[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())
