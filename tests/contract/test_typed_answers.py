"""Every route of this house says what it takes and gives, down to the leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rooftree_supervisor.api_documents.openapi import Describer
from tests.contract.door import house_with_closed_rooms


async def test_nothing_is_taken_or_given_that_may_be_anything(tmp_path: Path) -> None:
    async with house_with_closed_rooms(tmp_path) as system:
        routes = list(system.plugins.routes())

    describer = Describer()
    await asyncio.to_thread(describer.document, routes, "1")

    assert {owner for owner, _ in routes} >= {"addons", "docker", "store", "supervisor"}
    assert sorted(set(describer.schemas.untyped)) == []
