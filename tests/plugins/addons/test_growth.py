"""What counts as asking for more than what is installed."""

from __future__ import annotations

from typing import Any

import pytest

from rooftree_addons.growth import asks_for_more, is_as_installed, sentences
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonConfig
from rooftree_store.addon_config import parse_addon_config
from tests.plugins.addons.house import HELLO, House, addon_config


def declared(**config: Any) -> AddonConfig:
    """A configuration that declares that."""
    return parse_addon_config(addon_config("hello", **config)).config


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        ({}, {"hassio_api": True}, ("hassio_api",)),
        ({}, {"host_network": True, "uart": True}, ("host_network", "uart")),
        ({}, {"apparmor": False}, ("apparmor: false",)),
        ({"hassio_role": "manager"}, {"hassio_role": "admin"}, ("hassio_role: admin",)),
        ({"hassio_role": "backup"}, {"hassio_role": "homeassistant"}, ("hassio_role: homeassistant",)),
        ({"hassio_role": "admin"}, {"hassio_role": "default"}, ()),
        ({"privileged": ["NET_RAW"]}, {"privileged": ["NET_RAW", "SYS_ADMIN"]}, ("privileged: SYS_ADMIN",)),
        ({"privileged": ["NET_RAW", "SYS_ADMIN"]}, {"privileged": ["NET_RAW"]}, ()),
        ({}, {"devices": ["/dev/kvm"]}, ("devices: /dev/kvm",)),
        ({}, {"schema": {"sticks": [{"port": "device"}], "x": "str?"}}, ("options: sticks[].port: device",)),
        ({}, {"services": ["mqtt:want"]}, ("services: mqtt:want",)),
        ({}, {"map": ["ssl"]}, ("map: ssl:ro",)),
        ({"map": ["ssl"]}, {"map": ["ssl:rw"]}, ("map: ssl:rw",)),
        ({"map": ["ssl:rw"]}, {"map": ["ssl"]}, ()),
        ({"map": ["ssl:rw", {"type": "ssl", "path": "/x"}]}, {"map": ["ssl:rw"]}, ()),
        ({}, {"version": "2.0", "ports": {"80/tcp": 80}, "schema": {"a": "str?"}}, ()),
    ],
)
def test_what_reaches_further_is_named(before: dict[str, Any], after: dict[str, Any], more: tuple[str, ...]) -> None:
    assert asks_for_more(declared(**before), declared(**after)) == more


def test_installed_add_on_is_as_offered_until_a_word_of_it_changes() -> None:
    addon = InstalledAddon.fresh(HELLO, "registry.example/hello:1.0", declared().normalised(), set())

    assert is_as_installed(addon, "profile", declared(), "profile")
    assert not is_as_installed(addon, None, declared(ports={"80/tcp": 80}), None)
    assert not is_as_installed(addon, "profile", declared(), "a laxer profile")
    assert not is_as_installed(addon, "profile", declared(), None)


PROTECTED = {"host_network": True, "docker_api": True, "map": ["ssl:rw"], "devices": ["/dev/kvm"]}


async def test_plans_say_what_is_declared_and_what_an_update_adds(home: House) -> None:
    await home.offer(config=PROTECTED)
    planned = await notes(home, f"/store/addons/{HELLO}/install?plan=1")
    await home.install(config=PROTECTED)
    await home.offer(version="2.0", config={**PROTECTED, "privileged": ["NET_ADMIN"], "host_pid": True})

    updated = await notes(home, f"/store/addons/{HELLO}/update?plan=1")

    assert "declared: host_network, map: ssl:rw" in planned
    assert "declared, but held back while it is protected: docker_api" in planned
    assert [note for note in updated if "hardware" not in note] == [
        "new in version 2.0: privileged: NET_ADMIN",
        "new in version 2.0, but held back while it is protected: host_pid",
    ]


async def notes(home: House, path: str) -> list[str]:
    """The sentences of a plan."""
    plan = (await home.client.post(path)).data
    return [note for step in plan["steps"] for note in step.get("notes", ())]


def test_sentence_names_so_many_and_counts_the_rest() -> None:
    addon = InstalledAddon.fresh(HELLO, "x", declared(discovery=[f"d{n}" for n in range(50)]).normalised(), set())

    (sentence,) = sentences(addon)

    assert sentence.endswith("discovery: d39 and 10 more")
