"""The add-ons' routes: their answers' shapes, their texts and logs, and how fast a long list is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import perf_counter

import pytest

from rooftree.errors import Unavailable
from rooftree.interfaces.hooks import available_updates, supervisor_info
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_addons import InstalledAddon
from rooftree_store import AddonSlug
from tests.plugins.addons.house import HELLO, House, addon_config, done, house, refusal, write_offer
from tests.plugins.recordings import difference, needs_recordings, recorded
from tests.rig.pace import on_this_machine

OURS = {
    "addons.info": {
        "auto_uart", "services_role", "log_format", "pids_limit", "relaxations", "seccomp", "seccomp_lifted_by"
    }
}  # fmt: skip
"""Keys that the contract or the official client has and the existing supervisor did not answer, and our own."""
INGRESS = {"ingress": True, "hassio_api": True, "hassio_role": "manager"}
PNG = b"\x89PNG\r\n\x1a\n"


@needs_recordings
@pytest.mark.parametrize("name", ["addons.list", "addons.info", "addons.stats"])
async def test_answer_has_the_recorded_shape(home: House, name: str) -> None:
    record = recorded(name)
    await home.run("ing", "1.1", config=INGRESS)

    answer = await home.client.get(record["path"])

    data = {key: value for key, value in answer.data.items() if key not in OURS.get(name, ())}
    assert answer.status == record["status"]
    assert difference(record["answer"]["data"], data) == []


@needs_recordings
@pytest.mark.parametrize("name", ["addons.changelog", "addons.documentation", "addons.logs"])
async def test_text_is_sent_as_recorded(home: House, name: str) -> None:
    record = recorded(name)
    await home.run("ing", "1.1", config=INGRESS)

    answer = await home.client.get(record["path"])

    assert answer.status == record["status"]
    assert answer.headers["Content-Type"].partition(";")[0] == record["content_type"]


@needs_recordings
@pytest.mark.parametrize("name", ["addons.icon", "addons.logo"])
async def test_missing_picture_is_refused_as_recorded(home: House, name: str) -> None:
    await home.install("ing", "1.1", config=INGRESS)

    assert (await home.client.get(recorded(name)["path"])).status == recorded(name)["status"]


async def test_list_shows_what_is_installed_with_its_state(home: House) -> None:
    await home.run()
    await home.install("other", "2.0", config={"url": "https://example.com", "stage": "experimental"})
    await home.offer("third")

    shown = {addon["slug"]: addon for addon in (await home.client.get("/addons")).data["addons"]}

    assert set(shown) == {"local_hello", "local_other"}
    assert (shown["local_hello"]["state"], shown["local_other"]["state"]) == ("started", "stopped")
    assert (shown["local_other"]["stage"], shown["local_other"]["url"]) == ("experimental", "https://example.com")


async def test_info_says_what_the_configuration_says(home: House) -> None:
    config = {
        "ports": {"80/tcp": 8080, "90/tcp": None},
        "ports_description": {"80/tcp": "Web"},
        "webui": "http://[HOST]:[PORT:80]/start",
        "services": ["mqtt:want"],
        "privileged": ["NET_ADMIN"],
        "machine": ["!green"],
        "devices": ["/dev/null"],
        "discovery": ["hello"],
        "ingress": True,
        "ingress_entry": "/panel",
        "auth_api": True,
    }
    await home.run(config=config)

    info = await home.info(HELLO)

    assert info["network"] == {"80/tcp": 8080, "90/tcp": None}
    assert info["network_description"] == {"80/tcp": "Web"}
    assert info["webui"] == "http://[HOST]:8080/start"
    assert (info["services"], info["services_role"]) == (["mqtt:want"], ["mqtt:want"])
    assert (info["privileged"], info["machine"], info["devices"]) == (["NET_ADMIN"], ["!green"], ["/dev/null"])
    assert (info["hostname"], info["dns"]) == ("local-hello", ["local-hello.local.hass.io"])
    assert (info["ingress"], info["ingress_port"]) == (True, 8099)
    assert (info["ingress_entry"], info["ingress_url"]) == (None, None)  # nobody is there who shows the page
    assert info["ip_address"] == home.addons.address(HELLO)
    assert info["rating"] == 6


async def test_info_has_the_texts_of_the_add_ons_folder(home: House) -> None:
    files = {
        "README.md": "# Hello",
        "translations/en.yaml": "configuration:\n  greeting:\n    name: Greeting\n",
        "translations/de.json": '{"network": {"80/tcp": "Netz"}}',
        "translations/fr.yaml": "configuration: [broken",
        "translations/notes.txt": "no translation",
    }
    await home.install(files=files)

    info = await home.info(HELLO)

    assert info["long_description"] == "# Hello"
    assert set(info["translations"]) == {"en", "de"}
    assert info["translations"]["en"]["configuration"]["greeting"]["name"] == "Greeting"


async def test_texts_and_pictures_are_sent_as_they_are(home: House) -> None:
    await home.install(files={"CHANGELOG.md": "## 1.0\n", "DOCS.md": "Read me\n"})
    (home.data / "apps" / "local" / "hello" / "icon.png").write_bytes(PNG)
    done(await home.client.post("/store/reload"))

    changelog = await home.client.get(f"/addons/{HELLO}/changelog")
    documentation = await home.client.get(f"/addons/{HELLO}/documentation")
    icon = await home.client.get(f"/addons/{HELLO}/icon")

    assert (changelog.text, documentation.text) == ("## 1.0\n", "Read me\n")
    assert changelog.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert (icon.body, icon.headers["Content-Type"]) == (PNG, "image/png")


async def test_detached_add_on_works_on_without_its_texts(home: House) -> None:
    await home.run(files={"README.md": "# Hello", "CHANGELOG.md": "## 1.0"})
    (home.data / "apps" / "local" / "hello" / "config.json").unlink()
    done(await home.client.post("/store/reload"))

    info = await home.info(HELLO)
    restarted = await home.post(HELLO, "restart")

    assert (info["detached"], info["available"], info["update_available"]) == (True, False, False)
    assert (info["version_latest"], info["long_description"], info["changelog"]) == ("1.0", None, False)
    assert restarted.status == 200
    assert (await home.client.get(f"/addons/{HELLO}/changelog")).text.startswith("No changelog")


async def test_log_is_read_and_followed(home: House) -> None:
    await home.run(image=FakeImage(prints=("one", "two")))

    whole = await home.client.get(f"/addons/{HELLO}/logs")
    last = await home.client.get(f"/addons/{HELLO}/logs?lines=1")
    async with home.client.streaming("GET", f"/addons/{HELLO}/logs/follow") as response:
        first = await response.content.readline() + await response.content.readline()
        home.engine.write(f"app_{HELLO}", "three")
        third = await response.content.readline()

    assert (whole.text, last.text) == ("one\ntwo\n", "two\n")
    assert (first, third) == (b"one\ntwo\n", b"three\n")


async def test_log_of_what_never_ran_says_so(home: House) -> None:
    await home.install()

    answer = await home.client.get(f"/addons/{HELLO}/logs")

    assert answer.status == 404
    assert "app_local_hello" in answer.text


async def test_stats_are_for_what_runs(home: House) -> None:
    await home.run()

    running = await home.client.get(f"/addons/{HELLO}/stats")
    await home.post(HELLO, "stop")
    stopped = await home.client.get(f"/addons/{HELLO}/stats")

    assert running.data["memory_percent"] == 25.0
    refusal(stopped, 400, "app_not_running_error")


async def test_standard_input_is_handed_on_as_it_is(home: House) -> None:
    await home.run(config={"stdin": True})
    deaf = await home.run("deaf")

    answer = await home.client.post(f"/addons/{HELLO}/stdin", body=b'{"any": "bytes"}\xff\n')
    refused = await home.client.post(f"/addons/{deaf}/stdin", body=b"x")
    await home.post(HELLO, "stop")
    ended = await home.client.post(f"/addons/{HELLO}/stdin", body=b"x")

    assert answer.data == {}
    assert home.engine.inputs == {f"app_{HELLO}": b'{"any": "bytes"}\xff\n'}
    refusal(refused, 400, "app_not_supported_write_stdin_error")
    refusal(ended, 400, "app_not_running_error")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "info"), ("GET", "stats"), ("POST", "options"), ("POST", "options/validate"), ("POST", "security"),
     ("POST", "stdin")],
)  # fmt: skip
async def test_what_is_not_installed_is_an_error_with_a_key(home: House, method: str, path: str) -> None:
    body = {"protected": True} if path == "security" else {"watchdog": True}

    answer = await home.client.request(method, f"/addons/local_nothing/{path}", json=body if method == "POST" else None)

    refusal(answer, 400, "app_not_installed_error")


@pytest.mark.parametrize("slug", ["nothing", "LOCAL_x", "local_..", "local_a%20b"])
async def test_what_is_no_slug_names_nothing(home: House, slug: str) -> None:
    answer = await home.client.get(f"/addons/{slug}/info")

    assert answer.status in {400, 404}
    assert answer.envelope["result"] == "error"


async def test_bodies_are_strict(home: House) -> None:
    await home.install()

    answers = [
        await home.post(HELLO, "uninstall", {"remove_config": "yes"}),
        await home.post(HELLO, "rebuild", {"forced": True}),
        await home.post(HELLO, "security", {}),
        await home.client.post(f"/store/addons/{HELLO}/update", json={"background": 1}),
        await home.client.post(f"/store/addons/{HELLO}/install", body=b"{"),
    ]

    assert [refusal(answer, 400).partition(":")[0] for answer in answers] == [
        "remove_config",
        "forced",
        "Send protected, seccomp, pids_limit, or several of them",
        "background",
        "The body is not JSON",
    ]
    assert HELLO in home.addons.installed


async def test_updates_and_the_supervisors_list_come_from_what_is_installed(home: House) -> None:
    await home.run()
    await home.offer(version="2.0")

    (updates,) = await home.system.hooks.call(available_updates)
    told = [part["addons"] for part in await home.system.hooks.call(supervisor_info) if "addons" in part]

    assert [(update.update_type, update.name, update.version_latest) for update in updates] == [
        ("addon", "Hello", "2.0")
    ]
    assert updates[0].panel_path == "/update-available/local_hello"
    assert updates[0].icon is None
    assert told[0][0]["state"] == "started"
    assert told[0][0]["update_available"] is True


async def test_store_shows_what_is_installed_and_its_tag_changes_with_it(home: House) -> None:
    await home.offer()
    before = await home.client.get("/store")

    done(await home.client.post(f"/store/addons/{HELLO}/install"))
    after = await home.client.get("/store", headers={"If-None-Match": before.headers["ETag"]})
    again = await home.client.get("/store", headers={"If-None-Match": after.headers["ETag"]})

    assert before.data["addons"][0]["installed"] is False
    assert (after.data["addons"][0]["installed"], after.data["addons"][0]["version"]) == (True, "1.0")
    assert again.status == 304


async def test_list_of_400_add_ons_is_quick(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    count = 400
    async with house(tmp_path, engine) as home:
        names = [f"addon{number}" for number in range(count)]
        for name in names:
            await asyncio.to_thread(write_offer, home.data, name)
        fresh = [
            InstalledAddon.fresh(AddonSlug(f"local_{name}"), f"registry.example/{name}:1.0", addon_config(name), set())
            for name in names
        ]
        await home.system.state.commit(*(home.addons.installed.put(addon.slug, addon) for addon in fresh))
        done(await home.client.post("/store/reload"))
        await home.client.get("/addons")

        began = perf_counter()
        answer = await home.client.get("/addons")
        took = perf_counter() - began

        assert len(answer.data["addons"]) == count
        assert took < on_this_machine(1.0)


async def test_start_answers_unavailable_when_the_disk_is_full(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await home.install()

    async def full(*changes: object) -> None:
        raise Unavailable("The disk is full")

    monkeypatch.setattr(home.system.state, "commit", full)
    answer = await home.post(HELLO, "start")
    monkeypatch.undo()

    refusal(answer, 503)
    assert json.loads(answer.body)["job_id"]
    assert await home.container() is None


async def test_info_of_an_add_on_on_offer_is_what_the_store_knows(home: House) -> None:
    slug = await home.offer(config={"ingress": True, "options": {"greeting": "hello"}, "schema": {"greeting": "str"}})

    offered = await home.info(slug)
    done(await home.client.post(f"/store/addons/{slug}/install"))
    installed = await home.info(slug)

    differing = {key: offered[key] for key in offered if offered[key] != installed[key]}
    assert differing == {
        "ingress_port": None,
        "state": "unknown",
        "version": None,
    }
    assert offered["version_latest"] == "1.0"


async def test_info_of_an_add_on_that_nobody_offers_is_refused(home: House) -> None:
    refusal(await home.client.get("/addons/local_nothing/info"), 400, "app_not_installed_error")
