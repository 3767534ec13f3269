"""Add-ons of attackers, in the local repository of a daemon."""

from __future__ import annotations

import asyncio
import json

from tests.rig.addon import Addon
from tests.rig.addon_files import addon_files
from tests.rig.daemon import Daemon
from tests.rig.engine import Engine
from tests.rig.files import write_files


async def hostile(daemon: Daemon, engine: Engine, base: str, name: str, **config: object) -> Addon:
    """An add-on that is installed, and runs whatever the test has it run."""
    files = addon_files(name, base=base, **config)
    await asyncio.to_thread(write_files, daemon.data_dir / "apps" / "local", files)
    await daemon.ok("POST", "/store/reload")
    addon = Addon(daemon, engine, f"local_{name}")
    await addon.install()
    return addon


def says(addon: Addon, path: str, body: object) -> tuple[int, str]:
    """Status and whole answer of a call from inside the container, refusals with their sentence too."""
    posted = json.dumps(body).encode()
    lines = (
        f"POST {path} HTTP/1.1", "Host: supervisor", "Connection: close", "Content-Type: application/json",
        f"Authorization: Bearer {addon.token()}", f"Content-Length: {len(posted)}", "", "",
    )  # fmt: skip
    with addon.socket() as connection:
        connection.settimeout(20)
        connection.sendall("\r\n".join(lines).encode() + posted)
        answer = connection.makefile("rb").read().decode()
    return int(answer.split()[1]), answer
