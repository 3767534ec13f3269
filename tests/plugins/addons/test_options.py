"""What a user may set of an add-on: checked, kept, and put back to its default."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rooftree_addons import InstalledAddon
from rooftree_addons.installed import OptionsRefused
from rooftree_addons.options_change import OptionsChange
from rooftree_store import AddonSlug
from tests.plugins.addons.house import HELLO, House, done, refusal

SCHEMA: dict[str, Any] = {
    "options": {"greeting": "hi", "times": 2, "nested": {"deep": "value"}},
    "schema": {"greeting": "str", "times": "int(1,10)", "nested": {"deep": "str"}, "password": "password?"},
}


async def test_options_are_laid_over_their_defaults(home: House) -> None:
    await home.install(config=SCHEMA)

    await home.set_options(HELLO, options={"times": 3, "nested": {}})

    info = await home.info(HELLO)
    assert info["options"] == {"greeting": "hi", "times": 3, "nested": {"deep": "value"}}


async def test_null_puts_options_back_to_their_defaults(home: House) -> None:
    await home.install(config=SCHEMA)
    await home.set_options(HELLO, options={"times": 3})

    await home.set_options(HELLO, options=None)

    assert (await home.info(HELLO))["options"] == SCHEMA["options"]
    assert home.installed().options == {}


async def test_null_drops_what_was_set_where_the_defaults_alone_are_not_enough(home: House) -> None:
    await home.install(config={"options": {}, "schema": {"needed": "str"}})
    await home.set_options(HELLO, options={"needed": "x"})

    await home.set_options(HELLO, options=None)

    assert home.installed().options == {}
    started = await home.post(HELLO, "start")
    assert "needed: is required" in refusal(started, 400, "app_configuration_invalid_error")
    assert "needed" in refusal(
        await home.post(HELLO, "options", {"options": {}}), 400, "app_configuration_invalid_error"
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"times": 11}, "times"),
        ({"times": "many"}, "times"),
        ({"greeting": 5}, "greeting"),
        ({"greeting": None}, "greeting"),
        ({"nested": {"deep": [1]}}, "nested.deep"),
        ({"nested": "flat"}, "nested"),
    ],
)
async def test_option_that_does_not_fit_is_refused_by_name_and_changes_nothing(
    home: House, options: dict[str, Any], named: str
) -> None:
    await home.install(config=SCHEMA)
    before = home.installed()

    answer = await home.post(HELLO, "options", {"options": options, "watchdog": True})

    message = refusal(answer, 400, "app_configuration_invalid_error")
    assert named in message
    assert named in answer.envelope["extra_fields"]["validation_error"]
    assert answer.envelope["extra_fields"]["app"] == HELLO
    assert home.installed() == before


async def test_refusal_names_every_field_and_repeats_no_password(home: House) -> None:
    await home.install(config=SCHEMA)

    answer = await home.post(HELLO, "options", {"options": {"times": 0, "greeting": 1, "password": "hunter2"}})

    message = refusal(answer, 400, "app_configuration_invalid_error")
    assert "times" in message
    assert "greeting" in message
    assert "hunter2" not in answer.text


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"watchdog": "yes"}, "watchdog"),
    ({"boot": "sometimes"}, "boot"),
    ({"boot": None}, "boot"),
    ({"boot": "manual_only"}, "boot"),
    ({"auto_update": 1}, "auto_update"),
    ({"options": []}, "options"),
    ({"network": {"80/tcp": "x"}}, "network.80/tcp"),
    ({"network": {"80/tcp": 70000}}, "network.80/tcp"),
    ({"network": {"80/tcp": -1}}, "network.80/tcp"),
    ({"network": {"80/tcp": True}}, "network"),
    ({"network": {"81/tcp": 8081}}, "network.81/tcp"),
    ({"network": 80}, "network"),
    ({"audio_output": 1}, "audio_output"),
    ({"ingress_panel": None}, "ingress_panel"),
    ({"colour": "red"}, "colour"),
    ({}, "at least one"),
]


async def test_wrong_body_is_refused_by_field_and_changes_nothing(home: House) -> None:
    await home.install(config={"ports": {"80/tcp": 8080}})
    before = home.installed()

    messages = [refusal(await home.post(HELLO, "options", body), 400) for body, _ in WRONG]

    assert [message for message, (_, named) in zip(messages, WRONG, strict=True) if named not in message] == []
    assert home.installed() == before


async def test_what_is_absent_stays(home: House) -> None:
    await home.install(config=SCHEMA)
    await home.set_options(HELLO, options={"times": 3}, boot="manual", auto_update=True)

    await home.set_options(HELLO, watchdog=True)

    addon = home.installed()
    assert (addon.options, addon.boot, addon.auto_update, addon.watchdog) == ({"times": 3}, "manual", True, True)


async def test_changes_at_once_do_not_lose_each_other(home: House) -> None:
    await home.install(config=SCHEMA | {"ports": {"80/tcp": 8080}})
    bodies: list[dict[str, Any]] = [
        {"options": {"times": 3}},
        {"boot": "manual"},
        {"auto_update": True},
        {"watchdog": True},
        {"network": {"80/tcp": 9090}},
        {"ingress_panel": True},
    ]

    answers = await asyncio.gather(*(home.post(HELLO, "options", body) for body in bodies))

    addon = home.installed()
    assert [answer.status for answer in answers] == [200] * len(bodies)
    assert (addon.options, addon.boot, addon.auto_update) == ({"times": 3}, "manual", True)
    assert (addon.watchdog, addon.network, addon.ingress_panel) == (True, {"80/tcp": 9090}, True)


@pytest.mark.parametrize(
    ("network", "ports"),
    [
        ({"80/tcp": 9090}, {"80/tcp": 9090, "53/udp": None}),
        ({"80/tcp": "9090", "53/udp": 5353}, {"80/tcp": 9090, "53/udp": 5353}),
        ({"80/tcp": None, "53/udp": 53}, {"80/tcp": None, "53/udp": 53}),
        ({"80/tcp": 0}, {"80/tcp": None, "53/udp": None}),
        ({}, {"80/tcp": None, "53/udp": None}),
        (None, {"80/tcp": 8080, "53/udp": None}),
    ],
)
async def test_network_says_where_each_port_is_published(
    home: House, network: dict[str, Any] | None, ports: dict[str, int | None]
) -> None:
    await home.install(config={"ports": {"80/tcp": 8080, "53/udp": None}})
    await home.set_options(HELLO, network={"80/tcp": 1})

    await home.set_options(HELLO, network=network)
    await home.post(HELLO, "start")

    published = {f"{port.container}/{port.protocol}": port.host for port in home.engine.spec("app_local_hello").ports}
    assert (await home.info(HELLO))["network"] == ports
    assert published == {port: host for port, host in ports.items() if host}


async def test_boot_of_an_add_on_that_is_for_starting_by_hand_cannot_be_changed(home: House) -> None:
    await home.install(config={"boot": "manual_only"})

    answer = await home.post(HELLO, "options", {"boot": "auto"})

    refusal(answer, 400, "app_boot_config_cannot_change_error")
    info = await home.info(HELLO)
    assert (info["boot"], info["boot_config"]) == ("manual", "manual_only")


async def test_watchdog_of_an_add_on_that_runs_once_stays_off(home: House) -> None:
    await home.install(config={"startup": "once"})

    await home.set_options(HELLO, watchdog=True)

    assert home.installed().watchdog is False


async def test_audio_devices_are_shown_only_where_there_is_audio(home: House) -> None:
    await home.install(config={"audio": True})
    quiet = await home.install("quiet")
    await home.set_options(HELLO, audio_output="speaker", audio_input=None)
    await home.set_options(quiet, audio_output="speaker")

    info, other = await home.info(HELLO), await home.info(quiet)

    assert (info["audio_output"], info["audio_input"], other["audio_output"]) == ("speaker", None, None)


@pytest.mark.parametrize("name", ["m" * 129, "mic\n"])
async def test_audio_device_that_no_sound_server_has_is_refused_by_name(home: House, name: str) -> None:
    await home.install(config={"audio": True})

    answer = await home.post(HELLO, "options", {"audio_input": name})

    assert "audio_input: must be the name of a sound device" in refusal(answer, 400)
    assert (await home.info(HELLO))["audio_input"] is None


async def test_unknown_option_is_dropped_from_what_the_container_sees(home: House) -> None:
    await home.install(config=SCHEMA)

    await home.set_options(HELLO, options={"old_name": 1})
    await home.post(HELLO, "start")

    assert "old_name" not in home.options_file()


async def test_add_on_without_a_schema_takes_anything_and_hands_it_on(home: House) -> None:
    await home.install(config={"schema": False})

    await home.set_options(HELLO, options={"anything": [1, {"a": 2}]})
    await home.post(HELLO, "start")

    assert home.options_file() == {"anything": [1, {"a": 2}]}
    assert (await home.info(HELLO))["schema"] is None


async def test_secret_is_filled_in_for_the_container_and_kept_as_its_name(home: House) -> None:
    await home.install(config=SCHEMA)
    (home.data / "homeassistant" / "secrets.yaml").write_text("front_door: open sesame\nlist: [1]\n")

    await home.set_options(HELLO, options={"password": "!secret front_door"})
    await home.post(HELLO, "start")

    assert home.options_file()["password"] == "open sesame"
    assert (await home.info(HELLO))["options"]["password"] == "!secret front_door"


@pytest.mark.parametrize("content", [None, "front_door: [not, a, scalar]\n", "{{{ broken", "other: x\n"])
async def test_secret_that_is_not_there_is_refused_by_option(home: House, content: str | None) -> None:
    await home.install(config=SCHEMA)
    if content is not None:
        (home.data / "homeassistant" / "secrets.yaml").write_text(content)

    answer = await home.post(HELLO, "options", {"options": {"password": "!secret front_door"}})

    assert "password" in refusal(answer, 400, "app_configuration_invalid_error")


async def test_options_can_be_tried_without_being_set(home: House) -> None:
    await home.install(config=SCHEMA)

    good = await home.post(HELLO, "options/validate", SCHEMA["options"])
    bad = await home.post(HELLO, "options/validate", {"greeting": "hi", "times": 99, "nested": {"deep": "x"}})
    current = await home.post(HELLO, "options/validate")

    assert good.data == {"message": "", "valid": True, "pwned": None}
    assert current.data["valid"] is True
    assert bad.data["valid"] is False
    assert "times" in bad.data["message"]
    assert home.installed().options == {}


async def test_options_whose_defaults_do_not_fit_are_said_to_be_invalid(home: House) -> None:
    await home.install(config={"schema": {"colour": "str"}})

    current = await home.post(HELLO, "options/validate")

    assert current.data["valid"] is False
    assert "colour" in current.data["message"]


async def test_add_on_reads_its_own_options_checked_and_with_secrets(home: House) -> None:
    await home.run(config=SCHEMA)
    (home.data / "homeassistant" / "secrets.yaml").write_text("front_door: open sesame\n")
    await home.set_options(HELLO, options={"password": "!secret front_door", "times": 4})

    answer = await home.client.get("/addons/self/options/config", token=home.token())

    assert answer.data == SCHEMA["options"] | {"times": 4, "password": "open sesame"}


async def test_what_managed_means_is_for_home_assistant_alone(home: House) -> None:
    await home.install()

    refused = await home.post(HELLO, "sys_options", {"system_managed": True})

    refusal(refused, 403)
    assert (await home.info(HELLO))["system_managed"] is False


async def test_protection_is_switched_by_an_administrator_and_counts_from_the_next_start(home: House) -> None:
    await home.run(config={"full_access": True})

    done(await home.post(HELLO, "security", {"protected": False}))
    before = home.engine.spec("app_local_hello").device_rules
    await home.post(HELLO, "restart")

    assert (await home.info(HELLO))["protected"] is False
    assert "a *:* rwm" not in before
    assert home.engine.spec("app_local_hello").device_rules == ("a *:* rwm",)


async def test_options_of_what_is_not_installed_cannot_be_set(home: House) -> None:
    answer = await home.post("local_nothing", "options", {"watchdog": True})

    refusal(answer, 400, "app_not_installed_error")


async def test_service_refuses_options_as_the_route_does(home: House) -> None:
    await home.install(config=SCHEMA)

    with pytest.raises(OptionsRefused, match="times"):
        await home.addons.set_options(HELLO, OptionsChange(options={"times": 99}))


async def test_options_that_the_schema_does_not_know_are_not_kept(home: House) -> None:
    await home.install(config={"options": {"greeting": "hi"}, "schema": {"greeting": "str"}})

    await home.set_options(HELLO, options={"greeting": "hello", "__proto__": "x", "": 1})

    assert home.installed().options == {"greeting": "hello"}


@pytest.mark.parametrize(
    ("path", "body"),
    [("options", {"options": {}}), ("options", {"boot": "manual"}), ("security", {"protected": True})],
)
async def test_add_on_that_is_uninstalled_while_it_is_changed_is_said_to_be_gone(
    home: House, path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.install()
    change = home.addons.change

    async def lose_and_change(slug: AddonSlug, fn: Callable[[InstalledAddon], InstalledAddon]) -> None:
        await home.system.state.commit(home.addons.installed.delete(slug))
        await change(slug, fn)

    monkeypatch.setattr(home.addons, "change", lose_and_change)

    refusal(await home.post(HELLO, path, body), 400, "app_not_installed_error")
