"""Backups that the existing supervisor itself made, old ones and very old ones, restored: byte for byte what it
restores of them, and what it gets wrong is right here."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson
import pytest

from rooftree.testing import Failing, fixtures
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import container_steps
from tests.plugins.addons.house import House
from tests.plugins.archives.corpus import CORPUS
from tests.plugins.backups.restored_house import CORE_IMAGE, core_is_well, install_core, restore, take_in, whole_house
from tests.requirements import needs_shared

pytestmark = needs_shared(CORPUS)
allow = fixtures.allow

GOOD = sorted(CORPUS.glob("backups/[do]*.json")) if CORPUS.is_dir() else []
BY_HAND = sorted(CORPUS.glob("backups/by-hand/m*.json")) if CORPUS.is_dir() else []
IMAGES = (
    "ghcr.io/example/amd64-hotbox:1.2.3",
    "ghcr.io/example/amd64-coldstore:2.0",
    "ghcr.io/example/amd64-idle:0.1.0",
    "ghcr.io/home-assistant/amd64-addon-mqtt_broker:6.4.0",
    *(f"{CORE_IMAGE}:{version}" for version in ("2026.8.3", "2026.2.3", "2026.4.1", "2026.5.0", "2021.6.1", "0.118.5")),
)
NEWER = ("options.json", "www", "www/*", "pre-ran", "post-ran")
"""Of add-ons' data: written by who was started after the restore."""
HISTORY = "home-assistant_v2.db*"


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_steps, "STEADY_S", 0.0)
    core_is_well(monkeypatch)


def place(name: str) -> str:
    """Where that is below the data folder which a manifest calls so."""
    kind, _, slug = name.rpartition(" ")
    folders = {"addon data": f"apps/data/{slug}", "addon config": f"app_configs/{slug}"}
    return folders.get(kind) or {"addons/local": "apps/local"}.get(name, name)


def spoil(home: House, places: Collection[str]) -> None:
    """Put something into each place that is not in the backup."""
    for name in places:
        folder = home.data / place(name)
        (folder / "stale folder").mkdir(parents=True)
        (folder / "stale.txt").write_text("stale")
    (home.data / "homeassistant").mkdir(exist_ok=True)
    (home.data / "homeassistant" / "home-assistant_v2.db").write_text("the history of this home")


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """What is in a folder, by path."""
    shown = {}
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            full = Path(path) / name
            status = full.lstat()
            entry: dict[str, Any] = {"type": kind_of(status.st_mode)}
            if entry["type"] == "file":
                entry |= {"sha256": hashlib.sha256(full.read_bytes()).hexdigest(), "mtime": status.st_mtime}
            elif entry["type"] == "link":
                entry["target"] = str(full.readlink())
            shown[str(full.relative_to(folder))] = entry
    return shown


def kind_of(mode: int) -> str:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}
    return kinds.get(stat.S_IFMT(mode), "other")


def expected(manifest_entries: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same of a manifest."""
    known = ("type", "sha256", "mtime", "target")
    return {
        entry["path"]: {
            key: entry[key] for key in known if key in entry and (key != "mtime" or entry["type"] == "file")
        }
        for entry in manifest_entries
        if entry["path"] != "."
    }


def mounted(manifest_entries: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """What was mounted there, which is no affair of the backup."""
    paths = [entry["path"] for entry in manifest_entries if entry.get("mount_point")]
    return tuple(pattern for path in paths for pattern in (path, f"{path}/*"))


def without(all_there: Mapping[str, Any], *patterns: str) -> dict[str, Any]:
    return {path: entry for path, entry in all_there.items() if not any(fnmatchcase(path, p) for p in patterns)}


async def prepared(home: House) -> None:
    await install_core(home, "2026.8.3")
    for image in IMAGES:
        home.engine.publish_image(image)


@pytest.mark.parametrize("manifest_file", GOOD, ids=lambda path: path.stem)
async def test_what_the_existing_supervisor_made_comes_back_as_there(
    tmp_path: Path, manifest_file: Path, allow: Collection[Failing]
) -> None:
    manifest = orjson.loads(await asyncio.to_thread(manifest_file.read_bytes))
    request = manifest["restore"]["request"]
    async with whole_house(tmp_path, FakeContainerEngine(), allow) as home:
        await prepared(home)
        await asyncio.to_thread(spoil, home, manifest["restored"])
        slug = await take_in(home, manifest_file.with_suffix(".tar"))

        answer = await restore(home, slug, request["path"].rpartition("/")[2], **request["body"])

        assert answer.status == 200, answer.text
        for name, wanted in manifest["restored"].items():
            left_alone = NEWER if name.startswith("addon data") else mounted(wanted)
            left_alone = (HISTORY,) if name == "homeassistant" and no_history(manifest) else left_alone
            there = await asyncio.to_thread(entries, home.data / place(name))
            assert without(there, *left_alone) == without(expected(wanted), *left_alone), name
        if "homeassistant" in manifest["restored"] and no_history(manifest):
            history = home.data / "homeassistant" / "home-assistant_v2.db"
            assert await asyncio.to_thread(history.read_text) == "the history of this home"
        settings = manifest["settings_after_restore"].get("apps.json", {}).get("user", {})
        for addon in manifest["backup_json"]["addons"]:
            if f"addon data {addon['slug']}" not in manifest["restored"]:
                continue
            installed = home.installed(addon["slug"])
            assert installed.version == addon["version"]
            if addon["slug"] in settings:
                user = settings[addon["slug"]]
                assert (installed.options, installed.watchdog, installed.network) == (
                    user["options"],
                    user["watchdog"],
                    user.get("network"),
                )


def no_history(manifest: Mapping[str, Any]) -> bool:
    return bool((manifest["backup_json"]["homeassistant"] or {}).get("exclude_database"))


@pytest.mark.parametrize("manifest_file", BY_HAND, ids=lambda path: path.stem)
async def test_very_old_backups_come_back(tmp_path: Path, manifest_file: Path, allow: Collection[Failing]) -> None:
    manifest = orjson.loads(await asyncio.to_thread(manifest_file.read_bytes))
    async with whole_house(tmp_path, FakeContainerEngine(), allow) as home:
        await prepared(home)
        slug = await take_in(home, manifest_file.with_suffix(".tar"))
        details = (await home.client.get(f"/backups/{slug}/info")).data

        answer = await restore(
            home,
            slug,
            "partial",
            password=manifest["password"],
            homeassistant=details["homeassistant"] is not None,
            addons=[addon["slug"] for addon in details["addons"]],
            folders=details["folders"],
        )

        assert answer.status == 200, answer.text
        for member, content in manifest["inner"].items():
            for folder, inside in places_of(member.removeprefix("./").partition(".")[0]):
                there = await asyncio.to_thread(entries, home.data / folder)
                wanted = expected([entry for entry in content if inside in {"", entry["path"].partition("/")[0]}])
                files = {
                    path.removeprefix(f"{inside}/"): entry["sha256"]
                    for path, entry in wanted.items()
                    if entry["type"] == "file" and not path.startswith("./")
                }
                assert {path: there[path].get("sha256") for path in files} == files, member


def places_of(member: str) -> list[tuple[str, str]]:
    """The folders that an inner archive's content comes to, and what of it."""
    if member == "homeassistant":
        return [("homeassistant", "data")]
    if member in {"share", "ssl", "media", "addons_local"}:
        return [({"addons_local": "apps/local"}.get(member, member), "")]
    return [] if member == "supervisor" else [(f"apps/data/{member}", "data")]
