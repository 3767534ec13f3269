"""What the plugins of the house tell as events, whatever they work on, holds no secret."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rooftree.testing import Client, running_system
from rooftree_store.plugin import StorePlugin
from rooftree_supervisor.event_stream import EVENTS
from rooftree_supervisor.plugin import SupervisorPlugin


async def test_password_in_the_address_of_a_repository_is_told_to_nobody(tmp_path: Path) -> None:
    settings = {"plugins.store.repositories": []}
    async with (
        asyncio.timeout(30),
        running_system(tmp_path, plugins=[SupervisorPlugin, StorePlugin], settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        address = "https://me:hunter2@127.0.0.1:1/repository"  # where nobody listens
        answers = [
            await client.post("/store/repositories", json={"repository": address}),
            await client.post("/supervisor/options", json={"addons_repositories": [address]}),
        ]
        while not all(job.done for job in system.jobs.listing()):
            await asyncio.sleep(0.05)
        answers += [await client.get(path) for path in ("/jobs/info", "/store/repositories", "/supervisor/info")]

        told = b"\n".join(event.body for event in system.services.get(EVENTS)._record)

    assert [answer.status for answer in answers] == [503, 200, 200, 200, 200]  # the second is a job that failed later
    assert b'"type":"job_changed"' in told
    assert b"hunter2" not in told
    assert not any("hunter2" in answer.text for answer in answers)
