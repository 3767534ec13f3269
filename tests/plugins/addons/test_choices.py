"""What an add-on may choose for itself, and what only its user may: secrets, disks, others' devices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rooftree.state.documents import document_kind
from rooftree_addons import InstalledAddon, choices, device_grants
from rooftree_addons.devices import DeviceNode
from rooftree_addons.installed import OptionsRefused
from rooftree_addons.options_change import OptionsChange
from tests.plugins.addons.house import HELLO, House, done, refusal

SECRET: dict[str, Any] = {
    "options": {"name": "x", "logins": []},
    "schema": {"name": "str", "password": "password?", "logins": [{"word": "password"}]},
}
STICK: dict[str, Any] = {"options": {}, "schema": {"stick": "device?", "more": ["device?"], "name": "str?"}}
REFERENCE = "!secret front_door"


async def with_secrets(home: House) -> None:
    """An add-on that runs, in a house with two secrets."""
    (home.data / "homeassistant" / "secrets.yaml").write_text("front_door: open sesame\nsafe: '1234'\n")
    await home.run(config=SECRET)


async def by_itself(home: House, options: dict[str, Any] | None, verb: str = "options") -> Any:
    """What an add-on hears that sets its own options (or asks whether it might)."""
    body = {"options": options} if verb == "options" else options
    return await home.client.post(f"/addons/self/{verb}", json=body, token=home.token())


@pytest.mark.parametrize("name", ["front_door", "safe", "no_such_secret"])
async def test_add_on_refers_to_no_secret_and_does_not_learn_which_there_are(home: House, name: str) -> None:
    await with_secrets(home)

    answer = await by_itself(home, {"password": f"!secret {name}"})
    verdict = (
        await by_itself(home, {"name": "x", "logins": [], "password": f"!secret {name}"}, "options/validate")
    ).data

    message = refusal(answer, 400, "app_configuration_invalid_error")
    assert "password: refers to a secret, which neither an add-on nor its author can choose" in message
    assert (verdict["valid"], verdict["pwned"]) == (False, None)
    assert verdict["message"] == message
    assert home.installed().options == {}


async def test_add_on_sends_back_what_its_user_put_there_and_nothing_else(home: House) -> None:
    await with_secrets(home)
    mine = {"name": "y", "password": REFERENCE, "logins": [{"word": REFERENCE}, {"word": "!secret safe"}]}
    await home.set_options(HELLO, options=mine)

    done(await by_itself(home, mine | {"name": "z"}))
    moved = await by_itself(home, mine | {"logins": mine["logins"][::-1]})
    other = await by_itself(home, mine | {"password": "!secret safe"})
    rendered = await home.client.get("/addons/self/options/config", token=home.token())

    assert "logins[0].word" in refusal(moved, 400, "app_configuration_invalid_error")
    assert "password" in refusal(other, 400, "app_configuration_invalid_error")
    assert rendered.data["name"] == "z"
    assert rendered.data["password"] == "open sesame"
    assert [login["word"] for login in rendered.data["logins"]] == ["open sesame", "1234"]


async def test_reference_that_the_add_on_took_away_is_not_its_to_put_back(home: House) -> None:
    await with_secrets(home)
    await home.set_options(HELLO, options={"password": REFERENCE})
    done(await by_itself(home, {"name": "z"}))

    refusal(await by_itself(home, {"password": REFERENCE}), 400, "app_configuration_invalid_error")


async def test_manager_that_is_an_add_on_is_itself_on_itself_and_a_user_on_others(home: House) -> None:
    manager = {"hassio_api": True, "hassio_role": "manager"}
    (home.data / "homeassistant" / "secrets.yaml").write_text("front_door: open sesame\n")
    await home.run(config=SECRET | manager)
    other = await home.install("other", config=SECRET)
    body = {"options": {"password": REFERENCE}}

    own = await home.client.post(f"/addons/{HELLO}/options", json=body, token=home.token())
    others = await home.client.post(f"/addons/{other}/options", json=body, token=home.token())

    refusal(own, 400, "app_configuration_invalid_error")
    done(others)


async def test_secret_that_the_add_ons_author_refers_to_is_not_resolved(home: House) -> None:
    (home.data / "homeassistant" / "secrets.yaml").write_text("front_door: open sesame\n")
    await home.install(config={"options": {"password": REFERENCE}, "schema": {"password": "password"}})

    refused = await home.post(HELLO, "start")
    await home.set_options(HELLO, options={"password": REFERENCE})
    done(await home.post(HELLO, "start"))

    assert "password: refers to a secret" in refusal(refused, 400, "app_configuration_invalid_error")
    assert home.options_file() == {"password": "open sesame"}


def test_references_in_options_from_before_count_as_the_users() -> None:
    migrate = document_kind(InstalledAddon).migrations[1]

    body = migrate({"slug": "x", "options": {"a": {"b": [REFERENCE, "plain"]}, "c": REFERENCE}})

    assert body["secret_references"] == {"a.b[0]": REFERENCE, "c": REFERENCE}
    assert migrate({"slug": "x"})["secret_references"] == {}


# --- devices ----------------------------------------------------------------------------------------------------------


async def test_device_of_another_add_on_is_chosen_by_a_manager_only(home: House) -> None:
    await home.run(config=STICK)
    other = await home.install("other", config=STICK)
    await home.set_options(other, options={"more": ["/dev/full"]})

    refused = await by_itself(home, {"stick": "/dev/full"})
    done(await by_itself(home, {"stick": "/dev/null"}))
    await home.set_options(HELLO, options={"stick": "/dev/full"})
    done(await by_itself(home, {"stick": "/dev/full", "name": "unchanged, so not asked about"}))

    assert "stick: is another add-on's" in refusal(refused, 400, "app_configuration_invalid_error")


async def test_disk_is_nothing_that_an_add_on_chooses_for_itself(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = DeviceNode("/dev/full", "b", 8, 17)
    for module in ("devices", "device_grants"):
        monkeypatch.setattr(f"rooftree_addons.{module}.node_of", lambda path: disk)
    monkeypatch.setattr(device_grants.HardwareRule, "why_dangerous", lambda self, node: None)
    await home.run(config=STICK)

    refused = await by_itself(home, {"stick": "/dev/sdb1"})
    await home.set_options(HELLO, options={"stick": "/dev/sdb1"})
    info = await home.info(HELLO)

    assert "stick: is a disk" in refusal(refused, 400, "app_configuration_invalid_error")
    assert info["relaxations"] == ["its options name the disk /dev/full"]


@pytest.mark.parametrize("path", ["/dev/../dev/null", "/dev/kmsg", "/dev//null", "/dev/null\0", "/etc"])
@pytest.mark.parametrize("token", [True, False])
async def test_device_that_may_not_be_had_is_refused_by_name(home: House, path: str, token: bool) -> None:
    await home.run(config=STICK)
    body = b'{"options": {"stick": "%s"}}' % path.encode("unicode_escape").replace(b"\\x00", b"\\u0000")

    answer = await home.client.post(f"/addons/{HELLO}/options", body=body, **({"token": home.token()} if token else {}))

    assert "stick: " in refusal(answer, 400, "app_configuration_invalid_error")


async def test_choice_and_its_check_are_one(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is as it was is not asked about again: so it must still be so when it is written."""
    await home.run(config=STICK)
    await home.set_options(HELLO, options={"stick": "/dev/null"})
    real = choices.devices_to_choose
    waiting = []

    def slow(*arguments: Any, **named: Any) -> Any:
        waiting.append(home.installed().options)
        return real(*arguments, **named)

    monkeypatch.setattr("rooftree_addons.addons.devices_to_choose", slow)
    await asyncio.gather(
        home.addons.set_options(HELLO, OptionsChange(options={"stick": "/dev/zero"})),
        home.addons.set_options(HELLO, OptionsChange(options={"stick": "/dev/null", "name": "x"})),
    )

    assert waiting == [{"stick": "/dev/null"}, {"stick": "/dev/zero"}]


async def test_options_that_are_valid_no_more_are_refused_for_the_service_too(home: House) -> None:
    await home.install(config=STICK)

    with pytest.raises(OptionsRefused, match="stick: must be a path below"):
        await home.addons.set_options(HELLO, OptionsChange(options={"stick": "/nowhere"}))


# --- at the start, and before -----------------------------------------------------------------------------------------


async def test_plan_tells_the_hardware_that_is_granted_and_refused(home: House) -> None:
    config = {"devices": ["/dev/null", "/dev/kmsg"], "video": True}
    slug = await home.offer(config=config)

    install = (await home.client.post(f"/store/addons/{slug}/install?plan=1")).data
    done(await home.client.post(f"/store/addons/{slug}/install"))
    start = (await home.client.post(f"/addons/{slug}/start?plan=1")).data
    done(await home.post(slug, "start"))
    await home.offer(version="2.0", config=config | {"devices": ["/dev/zero", "/dev/kmsg"]})
    update = (await home.client.post(f"/store/addons/{slug}/update?plan=1")).data

    for plan, granted in ((install, "/dev/null"), (start, "/dev/null"), (update, "/dev/zero")):
        notes = [
            note for step in plan["steps"] for note in step["notes"] if not note.startswith(("declared", "new in"))
        ]
        assert len(notes) == 2
        assert notes[0].startswith(f"hardware granted: {granted}, c 29:* rwm")
        assert notes[1].startswith("hardware refused: /dev/kmsg (")


async def test_device_that_is_not_granted_is_a_problem_until_it_is_not_asked_for(home: House) -> None:
    await home.run(config={"devices": ["/dev/kmsg", "/dev/null"]})
    problem = home.problem("device_refused")
    rules = home.engine.spec(f"app_{HELLO}").device_rules

    done(await home.post(HELLO, "security", {"protected": False}))
    done(await home.post(HELLO, "restart"))

    assert problem is not None
    assert "/dev/kmsg" in problem.message
    assert rules == ("c 1:3 rwm",)
    assert home.engine.spec(f"app_{HELLO}").device_rules == ("c 1:11 rwm", "c 1:3 rwm")
    assert home.problem("device_refused") is None


async def test_problem_of_a_refused_device_goes_with_the_add_on(home: House) -> None:
    await home.run(config={"devices": ["/dev/kmsg"]})

    done(await home.post(HELLO, "uninstall"))

    assert home.problem("device_refused") is None


async def test_file_of_secrets_that_cannot_be_read_is_told_as_that_until_it_can(home: House) -> None:
    await with_secrets(home)
    file = home.data / "homeassistant" / "secrets.yaml"
    file.write_text("front_door: [open\n")
    key = "app_configuration_invalid_error"

    answer = await home.post(HELLO, "options", {"options": {"name": "x", "logins": [], "password": REFERENCE}})
    told = problem_of_secrets(home)
    by_add_on = await by_itself(home, {"password": "!secret other"})
    file.write_text("front_door: open sesame\n")
    done(await home.post(HELLO, "options", {"options": {"name": "x", "logins": [], "password": REFERENCE}}))

    assert "password: refers to a secret, and secrets.yaml can't be read; the problems say why" in refusal(
        answer, 400, key
    )
    assert told is not None and told.startswith("The file homeassistant/secrets.yaml can't be read: ")
    assert "neither an add-on nor its author can choose" in refusal(by_add_on, 400, key)
    assert problem_of_secrets(home) is None


def problem_of_secrets(home: House) -> str | None:
    """What is told of the file."""
    return next((problem.message for problem in home.system.problems if problem.type == "secrets_unreadable"), None)
