"""What a request shows of who sent it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import web
from multidict import istr

from rooftree.errors import Unauthenticated

AUTHORIZATION: Final = istr("Authorization")  # istr: looked up quicker
COOKIE: Final = istr("Cookie")


def sent_token(request: web.BaseRequest, headers: Iterable[istr]) -> str | None:
    """The one token that was sent; raises :class:`Unauthenticated` for a header sent twice, or tokens that differ."""
    token = ""
    for name in headers:
        values: Sequence[str] | None = request.headers.getall(name, None)
        if values is None:
            continue
        if len(values) > 1:
            raise Unauthenticated(f"The header {name} was sent more than once")
        text = values[0].strip()
        if name is AUTHORIZATION and text:
            words = text.split()
            if token and len(words) > 1 and words[0].lower() != "bearer":
                continue  # for the route itself, which checks a name and password
            text = words[-1]
        if text and token and text != token:
            raise Unauthenticated("Two different tokens were sent; send one")
        token = text or token
    return token or None
