"""The first install of Core on the real engine: its page is there until Core is, with nothing in between."""

from __future__ import annotations

import asyncio
import os
import shutil

import aiohttp
import pytest

from tests.requirements import needs
from tests.rig.core_house import CoreHouse, core_house
from tests.rig.core_image import CoreImages
from tests.rig.engine import Engine
from tests.rig.waiting import until

pytestmark = [
    pytest.mark.xdist_group("core"),
    needs(shutil.which("nft") is not None and os.geteuid() == 0, "needs root, and the command nft (package nftables)"),
]

VERSION = "2026.10.9"
MISSING = "2026.10.8"
"""What the feed says, and the registry does not have."""


async def test_from_the_page_to_core_somebody_answers_at_any_moment(engine: Engine, cores: CoreImages) -> None:
    await asyncio.to_thread(cores.publish, VERSION)
    async with core_house(engine, cores, MISSING) as house:
        url = f"{house.core.url}/"
        await house.daemon.start()
        await house.daemon.ok("POST", "/core/options", {"port": house.core.port})
        await until(lambda: is_answered(url, "page"), within_s=20, what="the page on Core's port")
        (waiting,) = (await house.daemon.ok("GET", "/jobs/info"))["jobs"]
        await house.daemon.ok("POST", f"/kernel/v1/jobs/{waiting['uuid']}/cancel")
        await until(lambda: is_idle(house), within_s=20, what="the end of what was cancelled")

        answers: list[str] = []
        async with asyncio.TaskGroup() as group:

            async def look() -> None:
                while "core" not in answers:
                    answers.append(await who(url))

            group.create_task(look())
            await house.daemon.ok("POST", "/core/update", {"version": VERSION})

        assert set(answers) == {"page", "core"}
        assert (await house.info())["version"] == VERSION


async def is_idle(house: CoreHouse) -> bool:
    return all(job["done"] for job in (await house.daemon.ok("GET", "/jobs/info"))["jobs"])


async def who(url: str) -> str:
    """Who answers there."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return "page" if answer.status == 503 else "core"
    except aiohttp.ClientError:
        return "nobody"


async def is_answered(url: str, by: str) -> bool:
    return await who(url) == by
