"""Logins of repositories that are not for everybody.

A user gives one in the address (``https://name:token@example.com/repository``). It is taken out of there at once, so
that it is no part of what names the repository in answers, jobs, logs and on disk, and a new token makes no new
repository. It is kept in the database as secrets are, and given to git when the server that it was meant for asks.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

from attrs import frozen

from rooftree import ParsedString, Secret, document
from rooftree_store.sources import RepositorySource

_WITH_LOGIN: Final = re.compile(r"(?P<scheme>(?i:https?)://)(?P<login>[^/?#\\\s]*)@(?P<rest>.*)", re.DOTALL)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")
MAX_CHARACTERS: Final = 1000


def _as_secrets(body: dict[str, Any]) -> dict[str, Any]:
    """A login of version 1, which had texts."""
    return {name: f"plain:{text}" for name, text in body.items()}


@document("store.login", version=2, migrations={1: _as_secrets})
@frozen
class Login:
    """A name and a password, or a token in place of either: so both are secrets."""

    name: Secret
    password: Secret


class RepositoryAddress(ParsedString):
    """What a user gives to add a repository: its source, with a login in it where the server wants one.

    Blanks around it do not count, nor slashes at the end of the address.
    """

    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError``, without repeating anything of the login."""
        source, login = _split(text)
        RepositorySource.check(source)
        if login is None:
            return
        name, password = login.name.reveal(), login.password.reveal()
        if not name or _UNPRINTABLE.search(name + password):
            raise ValueError("has a login that is not name:password, without control characters, before the @")
        if len(name) + len(password) > MAX_CHARACTERS:
            raise ValueError(f"has a login of more than {MAX_CHARACTERS} characters")

    @property
    def source(self) -> RepositorySource:
        """The source, without a login."""
        return RepositorySource(_split(self)[0]).canonical

    @property
    def login(self) -> Login | None:
        """The login, where there is one."""
        return _split(self)[1]

    def __repr__(self) -> str:
        return repr(str(self.source))


def _split(text: str) -> tuple[str, Login | None]:
    text = text.strip(" \t\r\n")
    match = _WITH_LOGIN.fullmatch(text)
    if match is None:
        return text, None
    name, _, password = match["login"].partition(":")
    return match["scheme"] + match["rest"], Login(Secret(unquote(name)), Secret(unquote(password)))
