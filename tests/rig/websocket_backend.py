"""An add-on's page with WebSockets, as aiohttp serves them: ``python websocket_backend.py PORT``.

``/echo`` says everything back, and speaks the sub-protocols ``lamp.v2`` and ``lamp.v1``; ``/ping`` pings and tells what
the pong said; ``/close`` closes with the code that it is asked for; ``/flood`` sends without a pause; ``/count`` tells
how many are open.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from aiohttp import WSMsgType, web

open_ones: set[web.WebSocketResponse] = set()


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("lamp.v2", "lamp.v1"), autoping=False, max_msg_size=0)
    await socket.prepare(request)
    open_ones.add(socket)
    try:
        async for message in socket:
            match message.type:
                case WSMsgType.TEXT:
                    await socket.send_str(message.data)
                case WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
                case WSMsgType.PING:
                    await socket.pong(message.data)
    finally:
        open_ones.discard(socket)
    return socket


async def ping(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(autoping=False)
    await socket.prepare(request)
    await socket.ping(b"there?")
    async for message in socket:
        await socket.send_str(f"{message.type.name} {message.data.decode()}")
    return socket


async def close(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.close(code=int(request.query["code"]), message=b"because")
    return socket


async def flood(request: web.Request) -> NoReturn:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    open_ones.add(socket)
    try:
        while True:
            await socket.send_bytes(bytes(64 * 1024))
    finally:
        open_ones.discard(socket)


async def count(request: web.Request) -> web.Response:
    return web.json_response(len(open_ones))


def main(port: str) -> None:
    app = web.Application()
    app.add_routes([web.get(f"/{handler.__name__}", handler) for handler in (echo, ping, close, flood, count)])
    web.run_app(app, host="127.0.0.1", port=int(port), print=None, handler_cancellation=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
