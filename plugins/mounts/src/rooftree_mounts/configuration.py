"""What is kept of a mount: a complete configuration, from a client's body or from the existing supervisor's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from attrs import evolve, frozen

from rooftree import Invalid, Secret, Unset, document, structure
from rooftree.interfaces.mounts import MountUse
from rooftree_mounts.models import CifsVersion, MountRequest, MountType

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "cifs": ("server", "port", "share", "version", "username", "password"),
    "nfs": ("server", "port", "path"),
    "disk": ("device", "uuid"),
}
"""Which keys a type has, besides those that all have."""
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {"cifs": ("server", "share"), "nfs": ("server", "path"), "disk": ()}
_LONGEST_PASSWORD: Final = 512
"""Characters; mount.cifs(8)."""


@document("mounts.mount", version=1)
@frozen(kw_only=True)
class MountConfig:
    """A mount, by its name. Which of the fields it has depends on its type."""

    type: MountType
    usage: MountUse
    read_only: bool = False
    server: str | None = None
    port: int | None = None
    share: str | None = None
    version: CifsVersion | None = None
    """``None``: the highest that both sides know."""
    username: str | None = None
    password: Secret | None = None
    path: str | None = None
    device: str | None = None
    """As the client named it; where there is a ``uuid``, that counts."""
    uuid: str | None = None
    filesystem: str | None = None

    @classmethod
    def of(cls, request: MountRequest) -> Self:
        """What a client wants; raises :class:`Invalid` for keys that are missing or don't go together."""
        given = {key: value for key in _all_keys() if not isinstance(value := getattr(request, key), Unset | None)}
        for key in given.keys() - set(_KEYS[request.type]):
            raise Invalid(f"{key}: a mount of type {request.type} has none; it has {', '.join(_KEYS[request.type])}")
        for key in _NEEDED[request.type]:
            if key not in given:
                raise Invalid(f"{key}: is missing; a mount of type {request.type} needs it")
        if request.type == "disk" and not given.keys() & {"device", "uuid"}:
            raise Invalid("device: is missing; a disk is found by device, uuid, or both")
        if given.keys() & {"username", "password"} and not given.keys() >= {"username", "password"}:
            raise Invalid("username, password: must be there both, or none of them for a guest")
        if request.usage == "backup" and request.read_only:
            raise Invalid("read_only: must be false for usage backup, for backups are written there")
        _refuse_port(given.get("port"))
        _refuse_password(given.get("password"))
        plain: dict[str, Any] = {key: str(value) if isinstance(value, str) else value for key, value in given.items()}
        return cls(type=request.type, usage=request.usage, read_only=bool(request.read_only), **plain)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> tuple[str, Self]:
        """Its name, and what is kept of it, from a record of :meth:`record`; raises :class:`Invalid`."""
        request = structure(dict(record), MountRequest)
        if isinstance(request.name, Unset):
            raise Invalid("name: is missing")
        config = cls.of(request)
        filesystem = record.get("filesystem")
        return str(request.name), evolve(config, filesystem=filesystem if isinstance(filesystem, str) else None)

    def record(self, name: str) -> dict[str, Any]:
        """As plain data, with its password in the clear. Raises ``SecretLocked``."""
        keys = ("type", "usage", "read_only", *_KEYS[self.type], *(["filesystem"] if self.type == "disk" else []))
        record = {"name": name, **{key: getattr(self, key) for key in keys}}
        if self.password is not None:
            record["password"] = self.password.reveal()
        return {key: value for key, value in record.items() if value is not None or key == "version"}


def _all_keys() -> list[str]:
    return list(dict.fromkeys(key for keys in _KEYS.values() for key in keys))


def _refuse_port(port: object) -> None:
    if isinstance(port, int) and not 0 < port < 65536:
        raise Invalid(f"port: must be from 1 to 65535, not {port}")


def _refuse_password(password: object) -> None:
    if isinstance(password, Secret):
        text = password.reveal()
        if not 0 < len(text) <= _LONGEST_PASSWORD or any(character in text for character in "\r\n\0"):
            raise Invalid(f"password: must be one line of {_LONGEST_PASSWORD} characters at most")
