"""Add-ons backed up and restored on the real engine: with data, in another version, and one that does not work then."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from attrs import frozen

from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, REPOSITORY, WAITS, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.files import write_files
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.registry import Registry
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("backups")

NAMES = ("versions", "fails")
FAILS_WITH_NEWS = WAITS.replace("while :", "test ! -e /data/news || exit 9\nwhile :")
"""Ends where something is in its data that the backup does not have."""


@frozen
class Street:
    """A daemon with add-ons, and what releases their second version."""

    daemon: Daemon
    engine: Engine
    registry: Registry
    repository: GitRepository

    async def running(self, name: str) -> Addon:
        """An add-on that runs, with a book of its own."""
        listed = (await self.daemon.ok("GET", "/store"))["addons"]
        addon = Addon(self.daemon, self.engine, next(one["slug"] for one in listed if one["slug"].endswith(name)))
        await addon.install()
        await addon.start()
        (addon.data / "book").write_text("old")
        return addon

    async def backed_up(self, addon: Addon, **body: object) -> str:
        """Make a backup of it; its slug."""
        answer = await self.daemon.ok("POST", "/backups/new/partial", {"addons": [addon.slug], **body})
        return str(answer["slug"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(engine: Engine, registry: Registry, git_server: GitServer) -> AsyncIterator[Street]:
    """One for all tests."""
    files = dict(REPOSITORY)
    for name in NAMES:
        image = registry.publish(f"backups/{name}", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": WAITS})
        files |= addon_files(name, image=image.rpartition(":")[0])
    repository = git_server.repository("backups", files)
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        yield Street(daemon, engine, registry, repository)


async def version(addon: Addon) -> str:
    """What runs in its container."""

    async def told() -> str:
        return addon.variable("VERSION") if addon.runs() else ""

    return await until(told, within_s=10, what=f"a container of {addon.slug} that runs")


async def test_addon_comes_back_in_the_version_and_with_the_data_it_had(street: Street) -> None:
    addon = await street.running("versions")
    slug = await street.backed_up(addon, password="a word")
    image = f"{street.registry.address}/backups/versions"
    street.registry.publish("backups/versions", "2.0", DOCKERFILE.format(version="2.0"), {"run.sh": WAITS})
    street.repository.write(addon_files("versions", "2.0", image=image))
    street.repository.push()
    await street.daemon.ok("POST", "/store/reload")
    await street.daemon.ok("POST", f"/store/addons/{addon.slug}/update", {})
    (addon.data / "book").write_text("new")
    (addon.data / "news").write_text("new")
    assert await version(addon) == "2.0"

    await street.daemon.ok("POST", f"/backups/{slug}/restore/partial", {"addons": [addon.slug], "password": "a word"})

    info = await addon.info()
    assert (info["version"], info["state"], await version(addon)) == ("1.0", "started", "1.0")
    assert addon.run_beside("cat /data/book") == "old"
    assert not (addon.data / "news").exists()


async def test_addon_that_does_not_work_restored_is_what_it_was(street: Street) -> None:
    addon = await street.running("fails")
    (addon.data / "news").write_text("what the program can't bear")
    slug = await street.backed_up(addon)
    (addon.data / "news").unlink()
    (addon.data / "book").write_text("new")
    street.registry.publish("backups/fails", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": FAILS_WITH_NEWS})
    await street.daemon.ok("POST", f"/addons/{addon.slug}/stop", {})
    street.engine.run("pull", f"{street.registry.address}/backups/fails:1.0")
    await addon.start()

    status, refusal = await street.daemon.call("POST", f"/backups/{slug}/restore/partial", {"addons": [addon.slug]})

    assert (status, refusal["error_key"]) == (400, "app_restore_failed_error")
    assert "exit code 9" in refusal["message"]
    assert (await addon.info())["state"] == "started"
    assert addon.run_beside("cat /data/book") == "new"
    assert not (addon.data / "news").exists()
    assert not list((street.daemon.data_dir / "restore").glob("*"))


async def test_addon_that_was_built_here_comes_back_without_its_source(street: Street, base_image: str) -> None:
    local = street.daemon.data_dir / "apps" / "local"
    write_files(local, addon_files("built", base=base_image))
    await street.daemon.ok("POST", "/store/reload")
    addon = Addon(street.daemon, street.engine, "local_built")
    await addon.install()
    await addon.start()
    (addon.data / "book").write_text("old")
    slug = await street.backed_up(addon)
    await street.daemon.ok("POST", f"/addons/{addon.slug}/uninstall", {})
    shutil.rmtree(local / "built")
    await street.daemon.ok("POST", "/store/reload")

    await street.daemon.ok("POST", f"/backups/{slug}/restore/partial", {"addons": [addon.slug]})

    assert await version(addon) == "1.0"
    assert addon.run_beside("cat /data/book") == "old"
