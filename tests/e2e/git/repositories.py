"""Repositories as the daemon's users add them and see them."""

from __future__ import annotations

from typing import Any

from tests.rig.daemon import Daemon
from tests.rig.git_server import GitRepository

SECRET = "what-nobody-may-read"
MAX_REPOSITORY_MIB = 8


def clones(daemon: Daemon) -> list[str]:
    """What lies where the clones are."""
    folder = daemon.data_dir / "apps" / "git"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def add(daemon: Daemon, url: str) -> tuple[int, Any]:
    """Add a repository; status and body of the answer."""
    return await daemon.call("POST", "/store/repositories", {"repository": url})


async def added(daemon: Daemon, repository: GitRepository) -> str:
    """Add a repository that is good. Its slug."""
    status, body = await add(daemon, repository.url)
    assert status == 200, body
    slug: str = (await daemon.ok("GET", "/store/repositories"))[-1]["slug"]
    return slug


async def offered(daemon: Daemon) -> dict[str, str]:
    """What the store has: version by name."""
    addons = (await daemon.ok("GET", "/store"))["addons"]
    return {addon["name"]: addon["version_latest"] for addon in addons}


async def nothing_was_added(daemon: Daemon) -> None:
    """The store and its folder are as they were at first."""
    assert [repository["slug"] for repository in await daemon.ok("GET", "/store/repositories")] == ["local"]
    assert await offered(daemon) == {}
    assert clones(daemon) == []
