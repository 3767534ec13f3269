"""Repositories as no working copy could make them, and what may not be found out or held up by them."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path

import attrs
import orjson

from tests.plugins.addons.house import House
from tests.plugins.store.shop import Shop
from tests.rig.git_server import GitRepository, GitServer

SECRET = "the-token-of-the-administrator"
PROMPT_S = 5.0
"""Within that everything is answered, on a machine that has other things to do as well."""
DESCRIPTION = (("repository.yaml", b"name: Hostile\n"),)


@asynccontextmanager
async def prompt() -> AsyncIterator[None]:
    """Fail the test unless what is in here is over soon."""
    async with asyncio.timeout(PROMPT_S):
        yield


type Files = Iterable[tuple[str, bytes | tuple[str, bytes]]]
"""Paths with contents, or with mode and content."""


def import_files(bare: Path, files: Files) -> None:
    """Put files into a repository as no working copy could have them."""
    with subprocess.Popen(["git", "-C", bare, "fast-import", "--quiet", "--force"], stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None
        importing.stdin.write(b"commit refs/heads/main\ncommitter A <a@example.com> 0 +0000\ndata 0\n\ndeleteall\n")
        for name, content in files:
            mode, data = content if isinstance(content, tuple) else ("100644", content)
            quoted = "".join(f"\\{byte:03o}" for byte in os.fsencode(name))
            importing.stdin.write(f'M {mode} inline "{quoted}"\ndata {len(data)}\n'.encode())
            importing.stdin.write(data + b"\n")
    assert importing.returncode == 0


def hostile(server: GitServer, files: Files | Mapping[str, bytes | tuple[str, bytes]]) -> GitRepository:
    """A repository on the server with those files and a description."""
    repository = server.repository(secrets.token_hex(4), {"x": ""})
    bare = server.served / f"{repository.folder.name}.git"
    given = files.items() if isinstance(files, Mapping) else files
    import_files(bare, chain(DESCRIPTION, given))
    return repository


async def problems(here: Shop | House) -> str:
    """Everything that is reported, as it is answered."""
    return orjson.dumps([attrs.asdict(problem) for problem in here.system.problems], default=str).decode()
