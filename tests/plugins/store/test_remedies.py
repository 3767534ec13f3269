"""What the store does about problems when its user chooses what is suggested."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree import Problem
from rooftree.testing import Client, running_system
from rooftree_resolution.plugin import ResolutionPlugin
from rooftree_store.plugin import StorePlugin

SOURCES = ["http://127.0.0.1:1/first", "http://127.0.0.1:1/second"]
"""Where nobody listens: plans are made, and nothing is fetched."""


@pytest.mark.parametrize("single", [True, False])
async def test_repository_is_fetched_again_or_all_of_them(tmp_path: Path, single: bool) -> None:
    settings = {"plugins.store.repositories": SOURCES}
    async with (
        running_system(tmp_path, plugins=[StorePlugin, ResolutionPlugin], settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        slugs = [entry["slug"] for entry in (await client.get("/store/repositories")).data]
        reference = slugs[-1] if single else "clones"
        system.problems.report(Problem("wrong", "store", reference, "", ("execute_reload",)))
        suggestions = (await client.get("/resolution/info")).data["suggestions"]
        uuid = next(entry["uuid"] for entry in suggestions if entry["reference"] == reference)
        plan = (await client.post(f"/resolution/suggestion/{uuid}?plan=1")).data

    (fetch, _) = plan["steps"]
    assert fetch["job"] == "store_manager_reload"
    assert fetch["kind"].startswith("store.update_repositories")
    assert {slug for slug in slugs if slug in (fetch["subject"] or "")} == ({slugs[-1]} if single else {*slugs})
