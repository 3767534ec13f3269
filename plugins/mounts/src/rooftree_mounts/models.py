"""The shapes of the mounts' bodies and answers, as the contract has them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Literal

from attrs import field, frozen

from rooftree import UNSET, ParsedString, Secret, Unset
from rooftree.interfaces.mounts import MountUse

type MountType = Literal["cifs", "nfs", "disk"]
type CifsVersion = Literal["1.0", "2.0"]


class MountName(ParsedString):
    """What a mount is called; also a folder, and a part of the name of a unit of systemd's."""

    __slots__ = ()

    pattern = r"[A-Za-z0-9_]{1,64}"
    allowed = "letters (a to z), digits and underscores, 64 at most"


class _Printed(ParsedString):
    """A text that goes into the settings of a unit, or into a line of a file: whole, and nothing besides it."""

    __slots__ = ()

    longest = 1024
    begins_freely = False

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for control characters, blanks around it, and what is too long or not there."""
        if not 0 < len(text) <= cls.longest or not text.isprintable() or text != text.strip():
            raise ValueError(f"must be {cls.allowed}")
        if text[0] in "/\\" and not cls.begins_freely:
            raise ValueError("must not begin with a slash or a backslash")


class Server(_Printed):
    """A server's name or address."""

    __slots__ = ()

    longest = 255
    allowed = "a host name, an IPv4 or an IPv6 address"

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for what is neither."""
        super().check(text)
        if ":" in text:
            try:
                ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]"))
            except ValueError:
                raise ValueError(f"must be {cls.allowed}; a port has a key of its own") from None
        elif re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", text) is None:
            raise ValueError(f"must be {cls.allowed}")


class Share(_Printed):
    """The name of a CIFS share, with or without a folder in it."""

    __slots__ = ()

    allowed = "the name of a share: printable characters, no blanks around it"


class ExportedPath(_Printed):
    """What an NFS server exports."""

    __slots__ = ()

    allowed = "a path that the server exports: printable characters, no blanks around it"
    begins_freely = True


class Username(_Printed):
    """Who logs in at a CIFS server; with a domain before a backslash where there is one."""

    __slots__ = ()

    longest = 256
    allowed = "printable characters, 256 at most"
    begins_freely = True


class DiskUuid(ParsedString):
    """What tells one file system from all others."""

    __slots__ = ()

    pattern = r"[A-Za-z0-9-]{1,64}"
    allowed = "the UUID of a file system, as blkid shows it"


class DiskDevice(ParsedString):
    """How a disk, or a partition of one, is found: by a path in ``/dev``, a label, or an id."""

    __slots__ = ()

    allowed = (
        "a device such as /dev/sda1, /dev/disk/by-id/usb-Acme_Disk-part1 or /dev/disk/by-label/films, or LABEL=films"
    )

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for what is no path in ``/dev`` and no label."""
        path = text.startswith("/dev/") and ".." not in text.split("/")
        label = text.startswith("LABEL=") and len(text) > len("LABEL=") and "/" not in text
        if not (path or label) or not text.isprintable() or len(text) > 255:
            raise ValueError(f"must be {cls.allowed}")


@frozen(kw_only=True)
class MountRequest:
    """A whole mount, as a client wants it. Which keys belong to it depends on its type; ``null`` is as good as absent.

    What only answers have (``state``, ``user_path``, ``filesystem``) may be there, and means nothing.
    """

    name: MountName | Unset = UNSET
    type: MountType
    usage: MountUse
    read_only: bool | None = False
    server: Server | Unset | None = UNSET
    port: int | Unset | None = UNSET
    share: Share | Unset | None = UNSET
    version: CifsVersion | Unset | None = UNSET
    username: Username | Unset | None = UNSET
    password: Secret | Unset | None = UNSET
    path: ExportedPath | Unset | None = UNSET
    device: DiskDevice | Unset | None = UNSET
    uuid: DiskUuid | Unset | None = UNSET
    state: str | Unset | None = UNSET
    user_path: str | Unset | None = UNSET
    filesystem: str | Unset | None = UNSET


@frozen(kw_only=True)
class ListedMount:
    """A mount in an answer; keys that its type does not have are absent, and so are its credentials."""

    name: str
    type: MountType
    usage: MountUse
    read_only: bool
    state: str | None
    """As systemd has it: ``active``, ``failed`` …"""
    user_path: str | None
    """Where add-ons see it; ``None`` for backups."""
    server: str | Unset = UNSET
    port: int | Unset = UNSET
    """Where it is not the usual one."""
    share: str | Unset = UNSET
    version: CifsVersion | Unset | None = UNSET
    """``None``: the highest that both sides know."""
    path: str | Unset = UNSET
    uuid: str | Unset = UNSET
    filesystem: str | Unset | None = UNSET


@frozen(kw_only=True)
class WatchedMount(ListedMount):
    """A mount as it was when it was looked at last, with what only we tell; nothing of it is asked of its server."""

    has_login: bool
    """Whether a user name and a password are kept for it."""
    total_bytes: int | None
    """``None`` until it has answered."""
    used_bytes: int | None
    used_by: Sequence[str]
    """In a sentence each, who would miss it."""
    why_failed: str | None
    """What is wrong, where something is."""


@frozen(kw_only=True)
class MountsOverview:
    """The mounts with what is known of each, and where backups go."""

    mounts: Sequence[WatchedMount]
    default_backup_mount: str | None


@frozen(kw_only=True)
class MountsInfo:
    """The mounts, and where backups go."""

    mounts: Sequence[ListedMount] = ()
    default_backup_mount: str | None = None
    """``None``: to the data folder."""


@frozen(kw_only=True)
class MountsOptions:
    """What may be set; what is absent stays."""

    default_backup_mount: str | Unset | None = field(default=UNSET)
    """``None``: backups go to the data folder."""
