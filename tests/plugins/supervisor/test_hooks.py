"""The hooks of ``docs/hooks.md``, each answered by a plugin as the page says, and asked over the API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from rooftree import Plugin, hookimpl
from rooftree.interfaces.hooks import AvailableUpdate, RepositoriesChange
from rooftree.testing import Client, running_system
from rooftree_supervisor.plugin import SupervisorPlugin

PAGE = Path(__file__).parents[3] / "docs" / "hooks.md"


class Answering(Plugin):
    """Answers every hook."""

    name = "answering"
    sources: ClassVar[list[str]] = []

    @hookimpl
    def available_updates(self) -> list[AvailableUpdate]:
        """One."""
        return [AvailableUpdate(update_type="core", version_latest="2026.12.0", panel_path="/update-available/core")]

    @hookimpl
    def info(self) -> Mapping[str, Any]:
        """A key."""
        return {"docker": "27.0"}

    @hookimpl
    async def supervisor_info(self) -> Mapping[str, Any]:
        """A key, after a while."""
        await asyncio.sleep(0)
        return {"ip_address": "172.30.32.2"}

    @hookimpl
    def set_repositories(self, sources: list[str]) -> RepositoriesChange:
        """Keep them."""
        type(self).sources = sources
        return RepositoriesChange()


@asynccontextmanager
async def asking(tmp_path: Path, plugin: type[Plugin] = Answering) -> AsyncIterator[Client]:
    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin, plugin]) as system,
        Client.over_unix(system) as client,
    ):
        yield client


async def test_hook_available_updates_adds_to_what_can_be_updated(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        (update,) = (await client.get("/available_updates")).data["available_updates"]

    assert (update["update_type"], update["version_latest"]) == ("core", "2026.12.0")


async def test_hook_info_fills_keys_of_the_answer(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        assert (await client.get("/info")).data["docker"] == "27.0"


async def test_hook_supervisor_info_fills_keys_of_the_answer(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        assert (await client.get("/supervisor/info")).data["ip_address"] == "172.30.32.2"


async def test_hook_set_repositories_gets_what_was_asked_for(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        answer = await client.post("/supervisor/options", json={"addons_repositories": ["https://example.org/a"]})

    assert answer.data == {}
    assert Answering.sources == ["https://example.org/a"]


async def test_example_of_the_page_answers_as_it_says(tmp_path: Path) -> None:
    example = re.search(r"```python\n(from rooftree.*?)```", await asyncio.to_thread(PAGE.read_text), re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    exec(compile(example[1], str(PAGE), "exec"), names)

    async with asking(tmp_path, names["LampPlugin"]) as client:
        assert (await client.get("/supervisor/info")).data["country"] == "AT"
