"""``/openapi.json``, and the page at ``/kernel/v1/docs`` that renders it with Swagger UI.

Everything comes from this package, so that the page works without the internet; its Content-Security-Policy would stop
anything else. Both are made when they are asked for: a daemon whose API nobody looks at pays nothing for them.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

from rooftree import PUBLIC, Binary, Header, Media, Plugins, Routes

routes = Routes()

HOME: Final = Path(__file__).parent
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
CACHED: Final[Mapping[str, str]] = {"Cache-Control": "max-age=3600", "Vary": "Accept-Encoding"}

type PageFile = Literal["docs.js", "swagger-ui-bundle.js", "swagger-ui.css"]
"""What the page is made of."""
_MEDIA: Final[Mapping[str, str]] = {".css": "text/css", ".js": "text/javascript"}


def running_plugins(plugins: Plugins) -> str:
    """Changes with the plugins that run, and so with the routes that there are."""
    return ".".join(dict.fromkeys(owner for owner, _ in plugins.routes()))


@routes.get("/openapi.json", access=PUBLIC, revision=running_plugins)
async def openapi(plugins: Plugins) -> Annotated[Binary, Media("application/json")]:
    """This document: the API of every plugin that runs, as OpenAPI 3.1."""
    return Binary(await asyncio.to_thread(_document, plugins), "application/json")


@routes.get("/kernel/v1/docs", access=PUBLIC)
async def docs() -> Annotated[Binary, Media("text/html")]:
    """The API's documentation, to be read in a browser."""
    content = await asyncio.to_thread((HOME / "docs.html").read_bytes)
    return Binary(content, "text/html", {**HEADERS, "Cache-Control": "no-cache"})


@routes.get("/kernel/v1/docs/{file}", access=PUBLIC)
async def docs_file(
    file: PageFile, accept_encoding: Annotated[str | None, Header("Accept-Encoding")]
) -> Annotated[Binary, Media(*_MEDIA.values())]:
    """A file that the documentation's page is made of."""
    packed = await asyncio.to_thread(_packed, file)
    media = _MEDIA[Path(file).suffix]
    if "gzip" in (accept_encoding or ""):
        return Binary(packed, media, {**HEADERS, **CACHED, "Content-Encoding": "gzip"})
    return Binary(await asyncio.to_thread(_unpacked, file), media, {**HEADERS, **CACHED})


def _document(plugins: Plugins) -> bytes:
    from rooftree_supervisor.api_documents.openapi import encoded_document  # noqa: PLC0415  # as few ever ask for it

    return encoded_document(tuple(plugins.routes()))


@lru_cache
def _packed(file: PageFile) -> bytes:
    """A file as it is sent: those of Swagger UI are stored so. Kept, because whoever likes may ask, and often."""
    stored = HOME / "swagger_ui" / f"{file}.gz"
    return stored.read_bytes() if stored.exists() else gzip.compress((HOME / file).read_bytes())


@lru_cache
def _unpacked(file: PageFile) -> bytes:
    """The same for who understands no coding."""
    return gzip.decompress(_packed(file))
