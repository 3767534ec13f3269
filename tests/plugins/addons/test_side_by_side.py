"""Add-ons of one repository are installed side by side, and none of them from a repository that is being changed."""

from __future__ import annotations

import asyncio

from tests.plugins.addons.house import WITHIN_S, House, done
from tests.rig.waiting import until


async def test_second_installation_from_a_repository_does_not_wait_for_the_first(home: House) -> None:
    first, second = await home.offer("first"), await home.offer("second")
    hold = home.engine.hold("pull")
    slow = asyncio.create_task(home.client.post(f"/store/addons/{first}/install"))
    await hold.reached.wait()

    async with asyncio.timeout(WITHIN_S):
        done(await home.client.post(f"/store/addons/{second}/install"))

    assert [*home.addons.installed] == [second] and not slow.done()
    hold.release()
    done(await slow)
    assert {*home.addons.installed} == {first, second}


async def test_reload_waits_until_what_is_installed_from_the_repository_is_installed(home: House) -> None:
    first = await home.offer("first")
    hold = home.engine.hold("pull")
    slow = asyncio.create_task(home.client.post(f"/store/addons/{first}/install"))
    await hold.reached.wait()

    reload = asyncio.create_task(home.client.post("/store/reload"))
    await until(lambda: waits(home), within_s=WITHIN_S, what="the reload in the queue")

    assert not reload.done()
    hold.release()
    done(await slow)
    done(await reload)


async def waits(home: House) -> bool:
    """Whether a reload has begun and has no plan yet."""
    plan = (await home.client.post("/store/reload?plan=1")).data
    return len(plan["waits_for"]) == 2
