"""Where a repository comes from: a git URL, optionally with a branch behind ``#``.

Everything that reaches git's command line is checked here, by what is allowed rather than by what is known to be bad.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from rooftree import ParsedString
from rooftree_store.slugs import RepositorySlug

LOCAL: Final = "local"
"""The source, and the slug, of the repository that is a plain folder."""
CORE_URL: Final = "https://github.com/home-assistant/addons"
BUILT_IN: Final = (
    "core",
    "https://github.com/hassio-addons/repository",
    "https://github.com/esphome/home-assistant-addon",
    "https://github.com/music-assistant/home-assistant-addon",
)
"""The repositories that every installation offers beside ``local``, unless the operator says otherwise."""

_SCHEMES = ("http", "https", "git", "ssh")
_BRANCH = re.compile(r"(?!-)(?!.*\.\.)[\w\-./]{1,200}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:.]+")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f\\]")


class RepositorySource(ParsedString):
    """The source of a repository: ``local``, ``core``, or a git URL with an optional ``#branch``."""

    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for what is no git URL with a scheme, a host and at most a branch."""
        if text in {LOCAL, "core"}:
            return
        if _UNPRINTABLE.search(text) or len(text) > 1000:
            raise ValueError("must be a URL of at most 1000 characters, without spaces or backslashes")
        url, hash_sign, branch = text.partition("#")
        if hash_sign and not _BRANCH.fullmatch(branch):
            raise ValueError("has a branch behind # that git could not have; allowed are letters, digits, - _ . /")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"must be a URL: {error}") from None
        if parts.scheme not in _SCHEMES:
            allowed = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
            raise ValueError(
                f"must begin with one of {allowed}; add-ons in a folder of this host need no repository: copy them to "
                "apps/local in the data folder"
            )
        if not parts.hostname or not _HOST.fullmatch(parts.hostname) or port == 0:
            raise ValueError("must name a host")
        if (parts.username or "").startswith("-"):
            raise ValueError("has a user name that begins with -")
        if parts.username is not None and parts.scheme in {"http", "https"}:
            raise ValueError("has a login in it, which would be in plain sight here; add it with the API")
        if parts.password is not None:
            raise ValueError("has a password in it, which only http and https can use; use ssh with a key")
        if parts.path.strip("/") == "":
            raise ValueError("must name a repository on that host")

    @property
    def canonical(self) -> RepositorySource:
        """The same source as it is entered when it is added: without slashes at the end of the address."""
        url, hash_sign, branch = self.partition("#")
        return RepositorySource(url.rstrip("/") + hash_sign + branch)

    def is_same_as(self, other: RepositorySource) -> bool:
        """Whether two texts stand for one repository: slashes and ``.git`` at the end of the address do not count, and
        upper and lower case are one."""
        return self._compared == other._compared

    @property
    def _compared(self) -> tuple[str, str]:
        source = self.canonical.lower()
        url, _, branch = (CORE_URL if source == "core" else source).partition("#")
        return url.removesuffix(".git"), branch

    @property
    def url(self) -> str:
        """What git is asked to fetch."""
        return CORE_URL if self == "core" else self.partition("#")[0]

    @property
    def address(self) -> str:
        """What people are told of it: the address that it was given as, also of the official one, whose name would be
        taken for Home Assistant Core's."""
        return CORE_URL if self == "core" else str(self)

    @property
    def branch(self) -> str | None:
        """The branch that is asked for, or ``None`` for the repository's own choice."""
        return self.partition("#")[2] or None

    @property
    def slug(self) -> RepositorySlug:
        """The repository's slug; the official repository has its own name, however it is spelt."""
        return RepositorySlug("core") if self == CORE_URL else RepositorySlug.of(self)
