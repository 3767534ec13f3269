"""Image names taken apart: which registry an image comes from, what it is called there, and which tag is meant.

The rules are those of the Docker Engine: the first part of a name is a registry when it looks like a host
(``ghcr.io``, ``localhost``, ``127.0.0.1:5000``); everything else lives on Docker Hub.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Final, Self

from attrs import field, frozen

from rooftree.errors import Invalid

DOCKER_HUB: Final = "docker.io"
_HUB_ALIAS: Final = "index.docker.io"
_HUB_LOGIN_ADDRESS: Final = "https://index.docker.io/v1/"

_HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>[\w][\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?",
    re.ASCII,
)


@frozen
class AuthInfo:
    """A login at a registry."""

    username: str
    password: str = field(repr=False)


@frozen(kw_only=True)
class ImageReference:
    """A checked image name."""

    registry: str
    """Host of the registry, ``docker.io`` for Docker Hub."""
    name: str
    """As it was written, without tag and digest."""
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take ``text`` apart; raises :class:`~rooftree.errors.Invalid` for what is no image name."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise Invalid(f"{text!r} is not the name of an image, such as ghcr.io/someone/something:1.0")
        name, tag, digest = match["name"], match["tag"], match["digest"]
        if tag is None and digest is None:
            tag = "latest"
        first, slash, _ = name.partition("/")
        is_host = bool(slash) and (first == "localhost" or "." in first or ":" in first)
        return cls(registry=first if is_host else DOCKER_HUB, name=name, tag=tag, digest=digest)

    @property
    def repository(self) -> str:
        """The name in whole, registry first, as the engine completes it: ``docker.io/library/alpine`` for ``alpine``.

        Names that the engine takes for one and the same have the same.
        """
        host, slash, name = self.name.partition("/")
        if self.registry == DOCKER_HUB and not (slash and host == DOCKER_HUB):
            host, slash, name = DOCKER_HUB, "/", self.name
        host = DOCKER_HUB if host.lower() in {DOCKER_HUB, _HUB_ALIAS} else host.lower()
        if host == DOCKER_HUB and "/" not in name:
            name = f"library/{name}"
        return host + slash + name

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def login_header(registry: str, login: AuthInfo) -> str:
    """The value of ``X-Registry-Auth`` for a pull from ``registry``."""
    address = _HUB_LOGIN_ADDRESS if registry == DOCKER_HUB else registry
    return _encoded({"username": login.username, "password": login.password, "serveraddress": address})


def logins_header(logins: dict[str, AuthInfo]) -> str:
    """The value of ``X-Registry-Config`` for a build: the logins of every registry its images may come from."""
    return _encoded(
        {
            _HUB_LOGIN_ADDRESS if registry == DOCKER_HUB else registry: {
                "username": login.username,
                "password": login.password,
            }
            for registry, login in logins.items()
        }
    )


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
