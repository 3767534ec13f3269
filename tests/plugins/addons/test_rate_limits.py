"""Registries that were asked too often: waited for where they say that it won't take long, and quoted where it will."""

from __future__ import annotations

import pytest

from rooftree import JobChanged
from rooftree.interfaces.containers import RegistryRateLimited
from rooftree_containers import steps as fetching
from tests.plugins.addons.house import HELLO, House, done, refusal
from tests.rig.waiting import until


def attempts(home: House) -> list[str]:
    """The engine's calls that ask a registry, in order."""
    return [verb for verb, _ in home.engine.calls if verb in {"pull", "build"}]


def tired(**wait: float) -> RegistryRateLimited:
    """What a registry answers that was asked too often."""
    return RegistryRateLimited("It says: slow down", registry="registry.example", **wait)


async def test_registry_that_may_be_asked_again_soon_is_waited_for_visibly(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SHORTEST_WAIT_S", 0.01)
    await home.offer()
    home.engine.fail("pull", tired(wait_s=718e-6), times=2)
    stages: list[str | None] = []
    home.system.bus.subscribe(JobChanged, lambda event: stages.append(event.job.stage), "test")

    answer = await home.client.post(f"/store/addons/{HELLO}/install")
    await home.quiet()

    done(answer)
    assert attempts(home) == ["pull", "pull", "pull"]
    assert stages.count("waiting") == 2
    assert stages[stages.index("waiting") + 1] == "pull_image"


async def test_wait_for_a_registry_can_be_cancelled(home: House) -> None:
    await home.offer()
    home.engine.fail("pull", tired(wait_s=50.0))
    started = await home.client.post(f"/store/addons/{HELLO}/install", json={"background": True})
    job_id = started.data["job_id"]

    async def waits() -> bool:
        return (await home.system.jobs.get(job_id)).stage == "waiting"

    await until(waits, within_s=5, what="the wait for the registry")
    await home.system.jobs.cancel(job_id)

    async def ended() -> bool:
        return bool((await home.system.jobs.get(job_id)).done)

    await until(ended, within_s=5, what="the end of the cancelled job")

    assert attempts(home) == ["pull"]
    assert HELLO not in home.addons.installed


@pytest.mark.parametrize("wait", [{}, {"wait_s": fetching.LONGEST_WAIT_S + 1}, {"wait_s": 3600.0}])
async def test_registry_that_is_tired_for_long_is_told_with_its_own_words(home: House, wait: dict[str, float]) -> None:
    await home.offer()
    home.engine.fail("pull", tired(**wait))

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert "slow down" in refusal(answer, 429, "container_registry_rate_limit_exceeded")
    assert attempts(home) == ["pull"]


async def test_registry_that_stays_tired_is_not_waited_for_without_end(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SHORTEST_WAIT_S", 0.01)
    monkeypatch.setattr(fetching, "WAITS_IN_ALL_S", 0.05)
    await home.offer()
    home.engine.fail("pull", tired(wait_s=0.0), times=100)

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    refusal(answer, 429, "container_registry_rate_limit_exceeded")
    assert attempts(home) == ["pull"] * 3


async def test_build_waits_for_the_registry_of_what_it_is_built_from(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SHORTEST_WAIT_S", 0.01)
    await home.offer(config={"image": None}, files={"Dockerfile": "FROM scratch\n", "build.yaml": "{}"})
    home.engine.fail("build", tired(wait_s=0.0))

    done(await home.client.post(f"/store/addons/{HELLO}/install"))

    assert attempts(home) == ["build", "build"]
