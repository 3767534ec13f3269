"""Servers whose shares can be mounted, and a system that mounts them by itself, without systemd."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.mounts import MOUNTS, Mounts
from rooftree.process import System
from rooftree.testing import Client, running_system
from rooftree_host.plugin import HostPlugin
from rooftree_mounts.mount_table import MountTable
from rooftree_mounts.plugin import MountsPlugin
from rooftree_resolution.plugin import ResolutionPlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.requirements import missing
from tests.rig.waiting import until

HELPER = Path(__file__).parents[2] / "rig" / "mount_share.py"
WITHIN_S = 20.0


class Shares:
    """Shares of servers that are folders of this machine; see ``tests/rig/mount_share.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def add(self, name: str, server: str = "nas", *, dies: bool = False) -> Path:
        """A share with one file in it, of a server that can die or not; its folder."""
        share = self.folder / server / name.replace("/", "%")
        share.mkdir(parents=True)
        (share / "hello.txt").write_text("hello from the share\n")
        if dies:
            share.with_name(f"{share.name}.dies").touch()
        return share

    def signal(self, share: Path, number: signal.Signals) -> None:
        """Send a signal to the server of a share that can die."""
        os.kill(int(share.with_name(f"{share.name}.pid").read_text()), number)

    def asked(self) -> list[dict[str, Any]]:
        """What was to be mounted, the newest last."""
        with suppress(FileNotFoundError):
            return [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]
        return []

    def close(self) -> None:
        """End the servers; whoever waits for them goes on."""
        with suppress(FileNotFoundError):
            for pid in (self.folder / "servers").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def unmount_below(folder: Path) -> None:
    """Nothing stays mounted there, and nothing immutable."""
    for mounted in reversed(MountTable.read().below(folder)):
        subprocess.run(["umount", "--lazy", "--no-canonicalize", mounted.target], check=True)
    subprocess.run(["chattr", "-R", "-f", "-i", folder], check=False, capture_output=True)


@pytest.fixture
def shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shares]:
    """Servers, and a mount(8) that knows them."""
    with served_shares(tmp_path, monkeypatch) as shares:
        yield shares


@contextmanager
def served_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shares]:
    """Servers, and a mount(8) that knows them, for the length of the block."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        missing("needs root, and /dev/fuse")
    shares = Shares(tmp_path / "shares")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mount").write_text(f'#!/bin/sh\nexec {sys.executable} {HELPER} "$@"\n')
    (programs / "mount").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("TEST_SHARES", str(shares.folder))
    try:
        yield shares
    finally:
        shares.close()
        unmount_below(tmp_path)


class House:
    """A system with mounts."""

    def __init__(self, system: System, client: Client) -> None:
        self.system = system
        self.client = client
        self.data = system.data.path

    @property
    def mounts(self) -> Mounts:
        return self.system.services.get(MOUNTS)

    async def create(self, name: str, **keys: Any) -> Any:
        """Mount something; the answer."""
        return await self.client.post("/mounts", json={"name": name, **keys})

    async def update(self, mount: str, **keys: Any) -> Any:
        return await self.client.request("PUT", f"/mounts/{mount}", json=keys)

    async def remove(self, name: str, query: str = "") -> Any:
        return await self.client.request("DELETE", f"/mounts/{name}{query}")

    async def listed(self) -> dict[str, Any]:
        """The mounts of ``GET /mounts``, by name."""
        answer = await self.client.get("/mounts")
        return {mount["name"]: mount for mount in answer.data["mounts"]}

    async def default(self) -> str | None:
        name: str | None = (await self.client.get("/mounts")).data["default_backup_mount"]
        return name

    async def issues(self) -> list[tuple[str, str]]:
        """Types and references of what is wrong."""
        answer = await self.client.get("/resolution/info")
        return [(issue["type"], issue["reference"]) for issue in answer.data["issues"] if issue["context"] == "mount"]

    async def suggestions(self, name: str) -> dict[str, str]:
        """The ids of what is suggested against what is wrong with a mount, by their words."""
        answer = await self.client.get("/resolution/info")
        return {
            suggestion["type"]: suggestion["uuid"]
            for suggestion in answer.data["suggestions"]
            if suggestion["reference"] == name
        }

    async def apply(self, name: str, suggestion: str) -> Any:
        """Do what is suggested."""
        return await self.client.post(f"/resolution/suggestion/{(await self.suggestions(name))[suggestion]}")

    async def becomes(self, name: str, state: str) -> None:
        """Wait until a mount is in that state."""

        async def is_so() -> bool:
            return self.mounts.mount(name).state == state

        await until(is_so, within_s=WITHIN_S, what=f"{name} {state}")

    async def mounted(self) -> list[str]:
        """Where something is mounted, relative to the data folder."""
        below = (await asyncio.to_thread(MountTable.read)).below(self.data)
        return sorted(str(Path(mounted.target).relative_to(self.data)) for mounted in below)


@asynccontextmanager
async def house_in(folder: Path) -> AsyncIterator[House]:
    """A system whose data are in a folder."""
    async with running_system(folder, plugins=[MountsPlugin, ResolutionPlugin, HostPlugin, SupervisorPlugin]) as system:
        for shared in ("media", "share", "backup"):
            (system.data.path / shared).mkdir(exist_ok=True)
        async with Client.over_unix(system) as client:
            yield House(system, client)


@pytest.fixture
async def house(tmp_path: Path, shares: Shares) -> AsyncIterator[House]:
    """A system with nothing mounted yet."""
    async with house_in(tmp_path) as house:
        yield house
