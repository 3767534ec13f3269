"""The store's routes: their answers' shapes, texts and pictures, and why an add-on cannot be installed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import Kernel, Plugin
from rooftree.interfaces.hooks import info, supervisor_info
from rooftree.interfaces.machine import RECOGNIZED_MACHINE
from rooftree.principal import Principal, Role
from rooftree.testing import Answer, token_for
from rooftree_store import AddonSlug, Installed
from rooftree_store.store import MOST_TEXT_BYTES
from tests.plugins.recordings import difference, needs_recordings, recorded
from tests.plugins.store.shop import Shop, config, refusal, shop

PNG = b"\x89PNG\r\n\x1a\n"
OURS = {"store.addon": {"changelog"}}
"""Keys that we answer besides."""
TEXTS = {"hello/README.md": "# Hello", "hello/DOCS.md": "Read me", "hello/CHANGELOG.md": "## 1.0"}


@needs_recordings
@pytest.mark.parametrize(
    "name",
    ["store.info", "store.addons", "store.addon", "store.addon_availability", "store.repositories",
     "store.repository"],
)  # fmt: skip
async def test_answer_has_the_recorded_shape(here: Shop, name: str) -> None:
    record = recorded(name)
    await here.offer({"ing/config.json": config("ing", "1.1", ingress=True, hassio_api=True, hassio_role="manager")})

    answer = await here.client.get(record["path"])

    data = answer.data
    for key in OURS.get(name, ()):
        del data[key]
    assert answer.status == record["status"]
    assert difference(record["answer"]["data"], data) == []


@needs_recordings
@pytest.mark.parametrize("name", ["store.addon_changelog", "store.addon_documentation"])
async def test_missing_text_is_a_sentence_as_recorded(here: Shop, name: str) -> None:
    record = recorded(name)
    await here.offer({"ing/config.json": config("ing")})

    answer = await here.client.get(record["path"])

    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, record["content_type"])
    assert answer.text.startswith("No ")


@needs_recordings
@pytest.mark.parametrize("name", ["store.addon_icon", "store.addon_logo"])
async def test_missing_picture_is_refused_as_recorded(here: Shop, name: str) -> None:
    record = recorded(name)
    await here.offer({"ing/config.json": config("ing")})

    answer = await here.client.get(record["path"])

    assert answer.status == record["status"]
    assert "local_ing" in answer.text


async def test_listing_has_every_add_on_and_every_repository(here: Shop) -> None:
    await here.offer({"a/config.json": config("a"), "b/config.json": config("b", image="x/y"), **TEXTS})
    here.store.note_installed({AddonSlug("local_a"): Installed("0.9", update_available=True)})

    listing = (await here.client.get("/store")).data

    by_slug = {addon["slug"]: addon for addon in listing["addons"]}
    assert set(by_slug) == {"local_a", "local_b"}
    assert (by_slug["local_a"]["build"], by_slug["local_b"]["build"]) == (True, False)
    assert (by_slug["local_a"]["installed"], by_slug["local_a"]["version"]) == (True, "0.9")
    assert (by_slug["local_a"]["update_available"], by_slug["local_b"]["version"]) == (True, None)
    assert [repository["slug"] for repository in listing["repositories"]] == ["local"]
    assert (await here.client.get("/store/addons")).data["addons"] == listing["addons"]


async def test_add_ons_page_has_its_readme_and_what_it_asks_for(here: Shop) -> None:
    await here.offer({"hello/config.json": config(host_network=True, apparmor=False, auth_api=True), **TEXTS})

    page = (await here.client.get("/store/addons/local_hello")).data

    assert page["long_description"] == "# Hello"
    assert (page["host_network"], page["apparmor"], page["auth_api"]) == (True, "disable", True)
    assert (page["changelog"], page["documentation"], page["icon"]) == (True, True, False)
    assert (page["rating"], page["detached"], page["available"]) == (4, False, True)


async def test_installed_add_on_that_nobody_offers_any_more_has_a_page_that_says_so(here: Shop) -> None:
    await here.offer({"hello/config.json": config(host_network=True), **TEXTS})
    kept = here.store.addon(AddonSlug("local_hello")).config
    here.store.note_installed({AddonSlug("local_hello"): Installed("1.0", update_available=False, config=kept)})
    before = (await here.client.get("/store/addons/local_hello")).data
    (here.local / "hello" / "config.json").unlink()
    await here.reload()

    page = (await here.client.get("/store/addons/local_hello")).data
    changelog = await here.client.get("/store/addons/local_hello/changelog")

    assert (before["detached"], page["detached"], page["installed"], page["version"]) == (False, True, True, "1.0")
    assert (page["host_network"], page["update_available"], page["long_description"]) == (True, False, None)
    assert (page["changelog"], page["documentation"], page["icon"]) == (False, False, False)
    assert changelog.text.startswith("No changelog")
    refusal(await here.client.get("/store/addons/local_hello/availability"), 404, "store_app_not_found_error")
    assert [addon["slug"] for addon in (await here.client.get("/store")).data["addons"]] == []


async def test_only_the_version_on_offer_has_a_page(here: Shop) -> None:
    await here.offer({"hello/config.json": config()})

    same = await here.client.get("/store/addons/local_hello/1.0")
    other = await here.client.get("/store/addons/local_hello/0.9")

    assert same.data["version_latest"] == "1.0"
    assert "1.0" in refusal(other, 404)


async def test_texts_and_pictures_are_sent_as_they_are(here: Shop) -> None:
    await here.offer({"hello/config.json": config(), **TEXTS})
    for name in ("icon.png", "logo.png"):
        (here.local / "hello" / name).write_bytes(PNG + name.encode())
    await here.reload()

    answers = {
        name: await here.client.get(f"/store/addons/local_hello/{name}")
        for name in ("changelog", "documentation", "icon", "logo")
    }

    assert (answers["changelog"].text, answers["documentation"].text) == ("## 1.0", "Read me")
    assert answers["changelog"].headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert (answers["icon"].body, answers["logo"].body) == (PNG + b"icon.png", PNG + b"logo.png")
    assert answers["icon"].headers["Content-Type"] == "image/png"


async def test_text_in_another_encoding_is_shown_as_well_as_can_be(here: Shop) -> None:
    await here.offer({"hello/config.json": config()})
    (here.local / "hello" / "CHANGELOG.md").write_bytes("für".encode("latin-1"))
    await here.reload()

    assert (await here.client.get("/store/addons/local_hello/changelog")).text == "f�r"


async def test_file_that_leads_out_of_the_repository_is_never_sent(here: Shop) -> None:
    await here.offer({"hello/config.json": config()})
    for name in ("icon.png", "logo.png", "README.md", "CHANGELOG.md", "DOCS.md"):
        (here.local / "hello" / name).symlink_to("/etc/passwd")
    await here.reload()

    paths = [f"/store/addons/local_hello{path}" for path in ("", "/icon", "/logo", "/changelog", "/documentation")]
    answers = [await here.client.get(path) for path in paths]

    assert all("root:" not in answer.text for answer in answers)
    assert [answer.status for answer in answers] == [200, 400, 400, 200, 200]


async def test_file_that_went_since_the_last_reload_is_missing(here: Shop) -> None:
    await here.offer({"hello/config.json": config(), **TEXTS})
    for name in TEXTS:
        (here.local / name).unlink()

    page = await here.client.get("/store/addons/local_hello")
    changelog = await here.client.get("/store/addons/local_hello/changelog")

    assert page.data["long_description"] is None
    assert changelog.text.startswith("No changelog")


@pytest.mark.parametrize(
    ("keys", "core", "error_key", "field"),
    [
        ({"arch": []}, None, "addon_not_supported_architecture_error", "architectures"),
        ({"machine": ["green"]}, None, "addon_not_supported_machine_type_error", "machine_types"),
        ({"machine": ["!generic-x86-64"]}, None, "addon_not_supported_machine_type_error", "machine_types"),
        ({"homeassistant": "2026.2.0"}, "2026.1.0", "addon_not_supported_home_assistant_version_error", "version"),
    ],
)
async def test_what_cannot_be_installed_says_why(
    here: Shop, keys: dict[str, Any], core: str | None, error_key: str, field: str
) -> None:
    await here.offer({"hello/config.json": config(**keys)})
    here.store.core_version = core

    answer = await here.client.get("/store/addons/local_hello/availability")

    assert "local_hello cannot be installed here" in refusal(answer, 400, error_key)
    assert set(answer.envelope["extra_fields"]) == {"slug", field}
    assert (await here.client.get("/store/addons/local_hello")).data["available"] is False


async def test_every_reason_is_in_the_sentence(here: Shop) -> None:
    await here.offer({"hello/config.json": config(arch=[], machine=["green"])})

    message = refusal(
        await here.client.get("/store/addons/local_hello/availability"), 400, "addon_not_supported_architecture_error"
    )

    assert "no architecture" in message
    assert "green" in message


@pytest.mark.parametrize("path", ["", "/availability", "/1.0"])
async def test_unknown_add_on_is_not_found(here: Shop, path: str) -> None:
    answer = await here.client.get(f"/store/addons/local_nothing{path}")

    assert "local_nothing" in refusal(answer, 404, "store_app_not_found_error")


@pytest.mark.parametrize("path", ["/store/addons/nothing", "/store/addons/self", "/store/repositories/nothing"])
async def test_what_is_no_slug_names_nothing(here: Shop, path: str) -> None:
    refusal(await here.client.get(path), 404)


@pytest.mark.parametrize("path", ["/store", "/store/addons"])
async def test_unchanged_listing_is_not_sent_again(here: Shop, path: str) -> None:
    await here.offer({"hello/config.json": config()})
    first = await here.client.get(path)
    tag = first.headers["ETag"]

    same = await here.client.get(path, headers={"If-None-Match": tag})
    await here.reload()
    still = await here.client.get(path, headers={"If-None-Match": tag})
    await here.offer({"hello/config.json": config(version="2.0")})
    changed = await here.client.get(path, headers={"If-None-Match": tag})

    assert (same.status, same.body, still.status) == (304, b"", 304)
    assert changed.status == 200
    assert changed.data["addons"][0]["version_latest"] == "2.0"
    assert changed.headers["ETag"] != tag


class Recognizing(Plugin):
    """Knows from some moment on which machine this is."""

    name = "recognizing"
    provides = (RECOGNIZED_MACHINE,)
    machine: ClassVar[str | None] = None

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(RECOGNIZED_MACHINE, self)


async def test_add_on_for_a_machine_can_be_installed_once_it_is_recognised_as_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path, {"plugins.store.machine": None}, Recognizing) as here:
        await here.offer({"lamp/config.json": config("lamp", machine=["yellow"])})
        before = await here.client.get("/store")

        monkeypatch.setattr(Recognizing, "machine", "yellow")
        after = await here.client.get("/store", headers={"If-None-Match": before.headers["ETag"]})

    def available(answer: Answer) -> list[bool]:
        return [addon["available"] for addon in answer.data["addons"]]

    assert (available(before), available(after)) == ([False], [True])


async def test_machine_that_the_operator_names_goes_before_the_recognised_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recognizing, "machine", "yellow")

    async with shop(tmp_path, {"plugins.store.machine": "green"}, Recognizing) as here:
        assert here.store.machine.machine == "green"


async def test_tag_of_an_earlier_run_is_of_no_use(here: Shop) -> None:
    answer = await here.client.get("/store", headers={"If-None-Match": f'"00000000-{here.store.revision}"'})

    assert answer.status == 200


MANAGED = [
    ("GET", "/store"),
    ("GET", "/store/addons"),
    ("GET", "/store/addons/local_hello"),
    ("GET", "/store/addons/local_hello/availability"),
    ("GET", "/store/addons/local_hello/changelog"),
    ("GET", "/store/addons/local_hello/documentation"),
    ("POST", "/store/reload"),
    ("POST", "/addons/reload"),
    ("POST", "/refresh_updates"),
    ("GET", "/store/repositories"),
    ("GET", "/store/repositories/local"),
    ("POST", "/store/repositories"),
    ("DELETE", "/store/repositories/local"),
    ("POST", "/store/repositories/local/repair"),
]


async def test_store_is_for_managers(here: Shop) -> None:
    await here.offer({"hello/config.json": config()})
    manager = await token_for(here.system, Principal("token", "manager", Role.MANAGER))
    backup = await token_for(here.system, Principal("token", "backup", Role.BACKUP))

    async def status(method: str, path: str, token: str) -> int:
        return (await here.client.request(method, path, token=token)).status

    assert [call for call in MANAGED if await status(*call, token=backup) != 403] == []
    assert [call for call in MANAGED if await status(*call, token=manager) not in {200, 400}] == []


async def test_pictures_are_for_everybody(here: Shop) -> None:
    await here.offer({"hello/config.json": config()})
    (here.local / "hello" / "icon.png").write_bytes(PNG)
    await here.reload()
    nobody = await token_for(here.system, Principal("addon", "local_hello"))

    store, addons = [
        await here.client.get(path, token=nobody)
        for path in ("/store/addons/local_hello/icon", "/addons/local_hello/icon")
    ]

    assert (store.body, addons.body) == (PNG, PNG)


async def test_store_contributes_what_can_run_here_and_its_repositories(here: Shop) -> None:
    (about,) = await here.system.hooks.call(info)
    (supervisor,) = await here.system.hooks.call(supervisor_info)

    assert about["machine"] == "generic-x86-64"
    assert about["arch"] in about["supported_arch"]
    assert supervisor["addons_repositories"] == [{"name": "Local add-ons", "slug": "local"}]


async def test_text_that_unfolds_into_gigabytes_is_cut(here: Shop) -> None:
    await here.offer({"hello/config.json": config(), "hello/CHANGELOG.md": "news"})
    os.truncate(here.local / "hello" / "CHANGELOG.md", 1 << 40)

    answer = await here.client.get("/store/addons/local_hello/changelog")

    assert answer.status == 200
    assert len(answer.text) == MOST_TEXT_BYTES


async def test_named_pipe_in_place_of_a_picture_holds_nobody_up(here: Shop) -> None:
    await here.offer({"hello/config.json": config(), "hello/icon.png": "x"})
    icon = here.local / "hello" / "icon.png"
    icon.unlink()
    os.mkfifo(icon)

    async with asyncio.timeout(10):
        answer = await here.client.get("/store/addons/local_hello/icon")

    assert (answer.status, "has no icon.png" in answer.text) == (400, True)
