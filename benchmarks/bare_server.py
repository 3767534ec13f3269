"""What the daemon is compared with: as little as an aiohttp server can do. ``bare_server.py PORT BODY STATUS ETAG``."""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web


def main(port: str, body_file: str, status: str, tag: str) -> None:
    body = Path(body_file).read_bytes()
    headers = {"ETag": tag} if tag else {}

    async def handler(request: web.Request) -> web.Response:
        if int(status) == 304:
            assert request.headers.get("If-None-Match") in {tag, None}
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    app = web.Application()
    app.router.add_get("/", handler)
    app.router.add_get("/supervisor/ping", handler)
    app.router.add_get("/store", handler)
    app.router.add_get("/addons", handler)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


main(*sys.argv[1:])
