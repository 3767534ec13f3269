"""What counts as asking for more than what is installed."""

from __future__ import annotations

from typing import Any

import pytest

from rooftree_addons.growth import asks_for_more, is_as_installed
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonConfig
from rooftree_store.addon_config import parse_addon_config
from tests.plugins.addons.house import HELLO, addon_config


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
        ({"privileged": ["NET_RAW"]}, {"privileged": ["NET_RAW", "SYS_ADMIN"]}, ("privileged",)),
        ({"privileged": ["NET_RAW", "SYS_ADMIN"]}, {"privileged": ["NET_RAW"]}, ()),
        ({}, {"devices": ["/dev/kvm"]}, ("devices",)),
        ({}, {"services": ["mqtt:want"]}, ("services",)),
        ({}, {"map": ["ssl"]}, ("map: ssl:ro",)),
        ({"map": ["ssl"]}, {"map": ["ssl:rw"]}, ("map: ssl:rw",)),
        ({"map": ["ssl:rw"]}, {"map": ["ssl"]}, ()),
        ({}, {"version": "2.0", "ports": {"80/tcp": 80}, "schema": {"a": "str?"}}, ()),
    ],
)
def test_what_reaches_further_is_named(before: dict[str, Any], after: dict[str, Any], more: tuple[str, ...]) -> None:
    assert asks_for_more(declared(**before), declared(**after)) == more


def test_installed_add_on_is_as_offered_until_a_word_of_it_changes() -> None:
    addon = InstalledAddon.fresh(HELLO, "registry.example/hello:1.0", declared().normalised(), set())

    assert is_as_installed(addon, declared())
    assert not is_as_installed(addon, declared(ports={"80/tcp": 80}))
