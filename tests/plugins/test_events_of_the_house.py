"""What the plugins of the house tell as events, whatever they work on, holds no secret."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rooftree.interfaces import hooks
from rooftree.testing import Client, running_system
from rooftree_store.plugin import StorePlugin
from rooftree_supervisor.plugin import SupervisorPlugin


async def test_password_in_the_address_of_a_repository_is_told_to_nobody(tmp_path: Path) -> None:
    settings = {"plugins.store.repositories": []}
    async with (
        asyncio.timeout(30),
        running_system(
            tmp_path, plugins=[SupervisorPlugin, StorePlugin], specifications=[hooks], settings=settings
        ) as system,
        Client.over_unix(system) as client,
    ):
        address = "https://me:hunter2@127.0.0.1:1/repository"  # where nobody listens
        refused = [
            await client.post("/store/repositories", json={"repository": address}),
            await client.post("/supervisor/options", json={"addons_repositories": [address]}),
        ]
        failed = await client.post("/store/repositories", json={"repository": "https://127.0.0.1:1/repository"})

        told = b"\n".join(event.body for event in system.events._record)

    assert [answer.status for answer in (*refused, failed)] == [400, 400, failed.status]
    assert failed.status > 400
    assert b'"type":"job_changed"' in told  # of the one that was begun
    assert b"hunter2" not in told
    assert not any("hunter2" in answer.text for answer in refused)
