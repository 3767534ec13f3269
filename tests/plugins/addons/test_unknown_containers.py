"""Containers whose add-on is not known: what runs is never removed, and nothing is while the state is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rooftree import Problem
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import AddonState
from rooftree_addons.addons import ADOPTED
from rooftree_addons.container import LABEL_SLUG
from rooftree_containers import Desired
from rooftree_containers.lifetime import LABEL_TOKEN
from rooftree_containers.unknown_containers import UNKNOWN_CONTAINER
from tests.plugins.addons.house import HELLO, House, addon_config, done, house, write_offer
from tests.rig.waiting import until

CONFIG = {
    "options": {"greeting": "hello", "often": 1},
    "schema": {"greeting": "str", "often": "int", "quiet": "bool?"},
}


async def run_with_options(home: House) -> str:
    """Run the add-on with an option that its user has chosen; the container's id."""
    await home.install(config=CONFIG)
    await home.set_options(HELLO, options={"greeting": "good day", "often": 1})
    done(await home.post(HELLO, "start"))
    container = await home.container()
    assert container is not None
    return container.id


def lose_everything(data: Path) -> None:
    """Damage the database, and leave no copy of it."""
    for path in data.glob("rooftree.db*"):
        path.unlink()
    (data / "rooftree.db").write_bytes(b"no database at all" * 1000)
    shutil.rmtree(data / "copies", ignore_errors=True)


async def until_installed(home: House) -> None:
    """Wait until the add-on is known again."""

    async def installed() -> bool:
        return HELLO in home.addons.installed

    await until(installed, within_s=10, what="the add-on that is taken over")


async def test_add_on_that_runs_is_taken_over_when_the_database_is_lost(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        container_id, token, data = await run_with_options(home), home.token(), home.data
    lose_everything(data)

    async with house(tmp_path, engine) as home:
        await until_installed(home)
        await home.until_state(HELLO, AddonState.STARTED)
        await home.quiet()

        container = await home.container()
        assert container is not None
        assert container.id == container_id
        addon = home.installed()
        assert (addon.version, addon.desired, addon.options) == ("1.0", Desired.STARTED, {"greeting": "good day"})
        assert home.tokens() == {container.labels[LABEL_TOKEN]}
        assert (await home.client.get("/addons/self/info", token=token)).data["slug"] == HELLO
        assert "look at them before you restart it" in (await home.until_problem(ADOPTED)).message

        await home.set_options(HELLO, watchdog=True)
        assert home.problem(ADOPTED) is None


async def test_add_on_that_had_ended_is_taken_over_and_not_started(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await run_with_options(home)
        done(await home.post(HELLO, "stop"))
        data = home.data
    lose_everything(data)

    async with house(tmp_path, engine) as home:
        await until_installed(home)
        await home.quiet()

        assert home.installed().desired is Desired.STOPPED
        assert await home.container() is not None


@pytest.mark.parametrize("offered", [None, "2.0"])
async def test_add_on_that_the_store_does_not_have_like_that_is_left_and_reported(
    tmp_path: Path, offered: str | None
) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        container_id = await run_with_options(home)
        data = home.data
    lose_everything(data)
    shutil.rmtree(data / "apps" / "local" / "hello")
    if offered:
        write_offer(data, "hello", offered, config=CONFIG)

    async with house(tmp_path, engine) as home:
        problem = await home.until_problem(UNKNOWN_CONTAINER)
        container = await home.container()

        assert container is not None
        assert container.id == container_id
        assert "It is left as it is" in problem.message
        assert HELLO not in home.addons.installed

        await home.offer(config=CONFIG)  # its repository is there again
        await until_installed(home)
        await home.quiet()
        assert home.problem(UNKNOWN_CONTAINER) is None


@pytest.mark.parametrize("content", ["[1]", "{", '{"greeting": 5, "unheard": 1}', None])
async def test_options_that_the_add_on_has_made_odd_hinder_nothing(tmp_path: Path, content: str | None) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await run_with_options(home)
        data = home.data
    lose_everything(data)
    options = data / "apps" / "data" / HELLO / "options.json"
    options.unlink()
    if content is None:
        options.symlink_to(data / "admin-token")
    else:
        options.write_text(content)

    async with house(tmp_path, engine) as home:
        await until_installed(home)

        assert set(home.installed().options) <= {"greeting"}


async def make_orphan(home: House) -> None:
    """Let a container be there whose add-on nobody knows."""
    await home.run()
    await home.system.state.commit(home.addons.installed.delete(HELLO))


async def test_container_that_runs_is_reported_and_never_removed(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await make_orphan(home)

    async with house(tmp_path, engine) as home:
        problem = await home.until_problem(UNKNOWN_CONTAINER)
        await home.quiet()

        assert "docker rm -f app_local_hello" in problem.message
        container = await home.container()
        assert container is not None
        assert container.exit_code is None
        await engine.remove(f"app_{HELLO}")
        await home.addons.containers.reconciliation.connected()
        assert home.problem(UNKNOWN_CONTAINER) is None


async def test_container_that_does_not_run_is_kept_while_the_state_is_damaged(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await make_orphan(home)
        engine.crash(f"app_{HELLO}")
        shutil.rmtree(home.data / "apps" / "local" / "hello")
        home.system.problems.report(Problem("state_damaged", "system", "x", "It was lost"))
        await home.system.problems.written()

    async with house(tmp_path, engine) as home:
        await home.until_problem(UNKNOWN_CONTAINER)

        assert await home.container() is not None
        assert (await home.container()).labels[LABEL_SLUG] == HELLO  # type: ignore[union-attr]
        home.system.problems.clear("state_damaged", "system", "x")
        await home.addons.containers.reconciliation.connected()
        assert await home.container() is None
        assert home.problem(UNKNOWN_CONTAINER) is None


async def test_what_runs_is_not_stopped_because_an_old_copy_says_so(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        await home.system.state.commit(home.addons.installed.put(HELLO, home.installed().wanting(Desired.STOPPED)))
        home.system.problems.report(Problem("state_damaged", "system", "x", "It is of yesterday"))
        await home.system.problems.written()

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState.STARTED)
        await home.quiet()

        assert home.installed().desired is Desired.STARTED
        assert "stop" not in {verb for verb, _ in engine.calls}


async def test_version_that_runs_counts_when_an_old_copy_knows_an_older_one(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run(version="2.0")
        known = addon_config("hello", "1.0")
        old = home.installed().with_version("registry.example/hello:1.0", None, known)
        await home.system.state.commit(home.addons.installed.put(HELLO, old))
        home.system.problems.report(Problem("state_damaged", "system", "x", "It is of yesterday"))
        await home.system.problems.written()

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState.STARTED)
        await home.quiet()

        assert (home.installed().version, home.installed().image) == ("2.0", "registry.example/hello:2.0")
