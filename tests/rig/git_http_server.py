"""Git over HTTP on a loopback port: ``git http-backend`` behind a door that may want a login, or lead elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web


class GitHttpServer:
    """Serves the bare repositories of a folder; every request's path and login are kept."""

    def __init__(self, served: Path) -> None:
        self.served = served
        self.port = 0
        self.login: str | None = None
        """What it wants to see, ``name:password``; ``None``: it is open to everybody."""
        self.leads_to: str | None = None
        """Where it redirects to instead of answering."""
        self.refuses: Callable[[str], str] | None = None
        """What it says instead of serving, of the header ``Authorization`` that it was given."""
        self.is_dumb = False
        """Whether it hands out files, as any web server does, and understands no question of git's."""
        self.asked: list[tuple[str, str | None]] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        """What is done while a client waits for its answer."""

    def url(self, name: str, login: str = "") -> str:
        """The address of a repository, with a login in it."""
        return f"http://{login}{'@' if login else ''}127.0.0.1:{self.port}/{name}.git"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        given = request.headers.get("Authorization")
        self.asked.append((request.path, given))
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.leads_to is not None:
            raise web.HTTPFound(self.leads_to + request.path_qs)
        wanted = None if self.login is None else f"Basic {b64encode(self.login.encode()).decode()}"
        if wanted is not None and given != wanted:
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="git"'})
        if self.refuses is not None:
            return web.Response(status=404, text=self.refuses(given or ""))
        if self.is_dumb:
            return await self._file(request.path)
        variables = {
            "GIT_PROJECT_ROOT": str(self.served),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        }
        child = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=os.environ | variables,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await child.communicate(await request.read())
        head, _, body = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, body=body, headers=headers)

    async def _file(self, path: str) -> web.StreamResponse:
        name, dot_git, inside = path.partition(".git/")
        place = self.served / f"{name.lstrip('/')}{dot_git}"
        if inside == "info/refs":  # what a hook of the server does at each push
            update = await asyncio.create_subprocess_exec("git", "-C", str(place), "update-server-info")
            await update.wait()
        file = place / inside
        return web.Response(body=file.read_bytes()) if file.is_file() else web.Response(status=404)


@contextlib.asynccontextmanager
async def serve_git_over_http(served: Path) -> AsyncIterator[GitHttpServer]:
    """A server for the bare repositories in ``served``."""
    server = GitHttpServer(served)
    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
