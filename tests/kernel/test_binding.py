"""From a request to a handler's parameters, and what is said where that fails."""

from __future__ import annotations

import asyncio
import enum
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import orjson
import pytest
from attrs import frozen

from rooftree import UNSET, Header, ParsedString, Plugin, Principal, RawBody, Role, Routes, Service, Unset
from rooftree.access import PUBLIC
from rooftree.testing import Answer, Client, running_system, token_for
from tests.kernel.raw_http import exchange

routes = Routes()
LIMIT = 1000


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


class Slug(ParsedString):
    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        if not text.isidentifier():
            raise ValueError("a slug is letters, digits and underscores")


@frozen
class Options:
    count: int
    name: str | Unset | None = UNSET


@routes.post("/body", access=PUBLIC, max_body=LIMIT)
def with_body(body: Options) -> dict[str, Any]:
    return {"count": body.count, "name": "absent" if isinstance(body.name, Unset) else body.name}


@routes.post("/any", access=PUBLIC)
async def with_any(body: dict[str, Any]) -> dict[str, Any]:
    return body


@routes.post("/raw", access=PUBLIC, max_body=LIMIT)
async def with_raw(body: RawBody) -> dict[str, Any]:
    return {"bytes": len(await body.read()), "type": body.content_type}


@routes.get("/query", access=PUBLIC)
def with_query(
    text: str = "none",
    number: int = 0,
    limit: int | None = None,
    flag: bool = False,
    colour: Colour = Colour.RED,
    which: Literal["a", "b"] = "a",
    slug: Slug | None = None,
    ratio: float = 0.5,
) -> dict[str, Any]:
    return {
        "text": text,
        "number": number,
        "limit": limit,
        "flag": flag,
        "colour": colour,
        "which": which,
        "slug": slug,
        "ratio": ratio,
    }


@routes.get("/headers", access=PUBLIC)
def with_headers(
    span: Annotated[str | None, Header("Range")], accept: Annotated[str | None, Header("X-Thing")] = None
) -> dict[str, Any]:
    return {"span": span, "accept": accept}


@routes.get("/caller", access=PUBLIC)
def with_caller(principal: Principal | None, who: Principal) -> dict[str, Any]:  # pragma: no cover
    return {"who": str(principal)}


@routes.get("/who", access=PUBLIC)
def who(who: Principal) -> dict[str, str]:
    return {"who": str(who)}


@routes.get("/parts/{slug}/{number}", access=PUBLIC)
def with_parts(slug: Slug, number: int) -> dict[str, Any]:
    return {"slug": slug, "type": type(slug).__name__, "number": number}


class Clock(Protocol):
    def now(self) -> str: ...


class Missing(Protocol):
    def never(self) -> str: ...


class OurClock:
    def now(self) -> str:
        return "noon"


CLOCK = Service[Clock]("clock/1")


@routes.get("/clock", access=PUBLIC)
def with_service(clock: Clock) -> dict[str, str]:
    return {"now": clock.now()}


@routes.get("/missing", access=PUBLIC)
def with_missing_service(thing: Missing) -> dict[str, str]:
    return {"now": thing.never()}


class Binding(Plugin):
    name = "binding"
    provides = (CLOCK,)

    def routes(self) -> Routes:
        return Routes.of(route for route in routes if route.path != "/caller") if hasattr(Routes, "of") else _usable()

    async def setup(self, kernel: Any) -> None:
        kernel.provide(CLOCK, OurClock())


def _usable() -> Routes:
    chosen = Routes()
    chosen._routes = [route for route in routes if route.path != "/caller"]
    return chosen
