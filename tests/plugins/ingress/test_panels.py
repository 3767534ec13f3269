"""Entries in the sidebar, and that Core hears of each change."""

from __future__ import annotations

from pathlib import Path

from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine
from rooftree_ingress.plugin import IngressPlugin
from tests.plugins.addons.house import done, house
from tests.plugins.addons.restoring import back_up, restore
from tests.plugins.discovery.core_desk import Told
from tests.plugins.ingress.conftest import CoreWithUsers, IngressHouse

PATH = "api/hassio_push/panel/local_hello"
SHOWN, GONE = Told("POST", PATH, None), Told("DELETE", PATH, None)


async def test_panels_of_add_ons_with_pages_are_listed(here: IngressHouse) -> None:
    await here.home.install("hello", config={"ingress": True, "panel_icon": "mdi:lamp", "panel_admin": False})
    await here.home.install("lamp", config={"ingress": True, "panel_title": "Light"})
    await here.home.install("plain")
    await here.home.set_options("local_hello", ingress_panel=True)

    assert (await here.core.get("/ingress/panels")).data == {
        "panels": {
            "local_hello": {"title": "Hello", "icon": "mdi:lamp", "admin": False, "enable": True},
            "local_lamp": {"title": "Light", "icon": "mdi:puzzle", "admin": True, "enable": False},
        }
    }


async def test_core_hears_of_a_panel_when_it_is_wanted_and_when_it_is_not(
    here: IngressHouse, core: CoreWithUsers
) -> None:
    slug = await here.home.install("hello", config={"ingress": True})
    await here.home.set_options(slug, ingress_panel=True)
    assert await core.next() == SHOWN
    await here.home.set_options(slug, ingress_panel=False)
    assert await core.next() == GONE
    await here.home.set_options(slug, ingress_panel=True)
    assert await core.next() == SHOWN
    await here.home.post(slug, "uninstall")
    assert await core.next() == GONE


async def test_panel_that_a_restore_brings_back_is_told_at_once(
    here: IngressHouse, core: CoreWithUsers, tmp_path: Path
) -> None:
    slug = await here.home.install("hello", config={"ingress": True})
    await here.home.set_options(slug, ingress_panel=True)
    assert await core.next() == SHOWN
    await back_up(here.home, tmp_path / "kept", slug)
    await here.home.set_options(slug, ingress_panel=False)
    assert await core.next() == GONE

    await restore(here.home, tmp_path / "kept", slug)
    assert await core.next() == SHOWN

    await here.home.post(slug, "uninstall")
    assert await core.next() == GONE
    await restore(here.home, tmp_path / "kept", slug, "restore/2")
    assert await core.next() == SHOWN


async def test_version_that_has_no_page_any_more_takes_its_panel_along(here: IngressHouse, core: CoreWithUsers) -> None:
    slug = await here.home.install("hello", config={"ingress": True})
    await here.home.set_options(slug, ingress_panel=True)
    assert await core.next() == SHOWN

    await here.home.offer("hello", "1.1")
    done(await here.home.post(slug, "update"))
    assert await core.next() == GONE

    await here.home.offer("hello", "1.2", config={"ingress": True})
    done(await here.home.post(slug, "update"))
    assert await core.next() == SHOWN


async def test_change_while_core_is_away_is_told_when_it_is_back(here: IngressHouse, core: CoreWithUsers) -> None:
    slug = await here.home.install("hello", config={"ingress": True})
    core.go(here.system)
    await here.home.set_options(slug, ingress_panel=True)
    await core.asked.get()
    core.come(here.system)
    assert await core.next() == SHOWN


async def test_change_that_core_did_not_take_is_told_again(here: IngressHouse, core: CoreWithUsers) -> None:
    slug = await here.home.install("hello", config={"ingress": True})
    core.status = 500
    await here.home.set_options(slug, ingress_panel=True)
    assert await core.next() == SHOWN
    core.come(here.system)
    assert await core.next() == SHOWN


async def test_change_is_told_after_a_restart(
    tmp_path: Path, engine: FakeContainerEngine, core: CoreWithUsers, clock: FakeClock
) -> None:
    async with house(tmp_path, engine, plugins=[core.plugin(), IngressPlugin], clock=clock) as home:
        slug = await home.install("hello", config={"ingress": True})
        core.go(home.system)
        await home.set_options(slug, ingress_panel=True)
        await core.asked.get()
    core.answers = True
    async with house(tmp_path, engine, plugins=[core.plugin(), IngressPlugin], clock=clock) as home:
        assert await core.next() == SHOWN
        await home.quiet()
    async with house(tmp_path, engine, plugins=[core.plugin(), IngressPlugin], clock=clock) as home:
        await home.quiet()
        assert core.told.empty()


async def test_panels_without_core_trouble_nobody(tmp_path: Path, engine: FakeContainerEngine) -> None:
    async with house(tmp_path, engine, plugins=[IngressPlugin]) as home:
        slug = await home.install("hello", config={"ingress": True})
        await home.set_options(slug, ingress_panel=True)
        assert (await home.client.get("/ingress/panels")).data["panels"]["local_hello"]["enable"] is True
