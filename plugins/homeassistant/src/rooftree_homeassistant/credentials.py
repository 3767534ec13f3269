"""The name and password of somebody who logs in to an add-on, as add-ons pass them on: in the header ``Authorization``
(RFC 7617), or in the body as JSON or as a form. A token in ``Authorization`` is the add-on's own, and says nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import parse_qsl

import orjson
from attrs import field, frozen

from rooftree import Header, RawBody, Unauthenticated

CHALLENGE: Final = 'Basic realm="Home Assistant Authentication"'
_BASIC: Final = "basic "
_FORM: Final = "application/x-www-form-urlencoded"

AuthorizationHeader = Annotated[str | None, Header("Authorization")]


class NoCredentials(Unauthenticated):
    """Nobody's name and password were sent, or not in a way that is known."""

    challenge: ClassVar[str | None] = CHALLENGE


class CredentialsNotStrings(NoCredentials):
    """The name or the password is missing, or is not a string."""

    error_key = "auth_invalid_non_string_value_error"


@frozen
class Credentials:
    """Who somebody says to be."""

    username: str
    password: str = field(repr=False)
    by_header: bool = False
    """Whether they came in the header: a browser asks for others, when it is told that these are wrong."""


async def credentials(authorization: str | None, body: RawBody) -> Credentials:
    """What was sent: in the header where it has some, else in the body.

    Raises :class:`NoCredentials` and :class:`CredentialsNotStrings`.
    """
    if authorization is not None and authorization.lstrip()[: len(_BASIC)].lower() == _BASIC:
        return _from_header(authorization.strip()[len(_BASIC) :])
    if body.content_type == "application/json":
        return _from_fields(_json(await body.read()))
    if body.content_type == _FORM:
        return _from_fields(_form(await body.read()))
    raise NoCredentials(
        "Send a name and password: in the header Authorization (Basic), or as username and password in a body of "
        f"application/json or {_FORM}"
    )


def _from_header(encoded: str) -> Credentials:
    try:
        raw = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise NoCredentials("The header Authorization is not Basic authentication as RFC 7617 has it") from None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # what browsers send that were not told otherwise
    username, colon, password = text.partition(":")
    if not colon:
        raise NoCredentials("The header Authorization has no colon between name and password")
    return Credentials(username, password, by_header=True)


def _json(content: bytes) -> Any:
    if not content.strip():
        raise NoCredentials("The body is empty: send username and password")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise NoCredentials(f"The body is not JSON: {error}") from None


def _form(content: bytes) -> Any:
    try:
        return dict(parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=20, errors="strict"))
    except ValueError:
        raise NoCredentials("The body is not a form in UTF-8") from None


def _from_fields(content: Any) -> Credentials:
    fields = content if isinstance(content, dict) else {}
    username_name = "username" if "username" in fields else "user"
    return Credentials(_string(fields, username_name), _string(fields, "password"))


def _string(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise CredentialsNotStrings(f"{name}: must be a string" + (", and is missing" if value is None else ""))
    return value
