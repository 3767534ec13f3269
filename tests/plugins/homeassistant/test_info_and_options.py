"""What ``/core/info`` says, and what ``/core/options`` changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import HomeAssistantOptions

from rooftree.principal import Principal, Role
from rooftree.testing import token_for
from rooftree.testing.containers import FakeContainerEngine
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse, WrittenFeed, core_house

UNTOUCHED = {
    "boot": True,
    "port": 80,
    "ssl": False,
    "watchdog": True,
    "audio_input": None,
    "audio_output": None,
    "backups_exclude_database": False,
    "duplicate_log_file": False,
}


async def test_core_that_is_not_installed_is_told_of_all_the_same(home: CoreHouse) -> None:
    info = await home.info()

    assert info.items() >= UNTOUCHED.items()
    assert (info["version"], info["version_latest"], info["update_available"]) == (None, NEW, False)
    assert info["image"] == f"ghcr.io/home-assistant/{info['machine']}-homeassistant"
    assert info["ip_address"] == "172.30.32.1"
    assert (await home.client.get("/core/info")).data == (await home.client.get("/homeassistant/info")).data


@pytest.mark.parametrize(
    ("newest", "is_update"), [(NEW, True), (OLD, False), ("2026.9.4", False), ("landingpage", False), (None, False)]
)
async def test_update_is_offered_only_for_what_is_certainly_newer(
    home: CoreHouse, newest: str | None, is_update: bool
) -> None:
    await home.install(OLD)
    home.tell_versions(newest)

    info = await home.info()
    offered = home.core.update

    assert (info["version"], info["version_latest"], info["update_available"]) == (OLD, newest, is_update)
    assert offered == (newest if is_update else None)


async def test_info_is_answered_without_an_engine_and_without_a_feed(
    tmp_path: Path, engine: FakeContainerEngine
) -> None:
    engine.go_away()
    async with core_house(tmp_path, engine, WrittenFeed(core=None, images={})) as house:
        info = await house.info()

        assert (info["version"], info["version_latest"]) == (None, None)
        assert info["image"] == f"ghcr.io/home-assistant/{info['machine']}-homeassistant"


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({}, "at least one of"),
    ({"boots": True}, "boots"),
    ({"port": 0}, "port: must be from 1 to 65535, not 0"),
    ({"port": 65_536}, "port: must be from 1 to 65535, not 65536"),
    ({"port": "80"}, "port"),
    ({"boot": None}, "boot"),
    ({"image": "Not An Image"}, "image: must be the name of an image without a tag"),
    ({"image": "ghcr.io/someone/core:latest"}, "image: must be the name of an image without a tag"),
    ({"image": "a" * 256}, "image: must be the name of an image without a tag"),
    ({"audio_input": "m" * 129}, "audio_input: must be the name of a sound device, of at most 128 characters"),
    ({"audio_output": "speak\0er"}, "audio_output: must be the name of a sound device"),
]


async def test_options_that_do_not_fit_are_refused_by_name_and_nothing_changes(home: CoreHouse) -> None:
    before = await home.info()

    for body, message in UNFIT:
        answer = await home.call("options", **body)

        assert answer.status == 400, body
        assert message in answer.message
        assert await home.info() == before, body


async def test_options_are_kept_over_a_restart_and_null_goes_back_to_the_default(
    tmp_path: Path, engine: FakeContainerEngine
) -> None:
    chosen = {
        "boot": False,
        "port": 8123,
        "ssl": True,
        "watchdog": False,
        "audio_input": "mic",
        "audio_output": "speaker",
        "backups_exclude_database": True,
        "duplicate_log_file": True,
        "image": "ghcr.io/someone/core",
    }
    async with core_house(tmp_path, engine) as house:
        assert (await house.call("options", **chosen)).data == {}

    async with core_house(tmp_path, engine) as house:
        assert (await house.info()).items() >= chosen.items()

        await house.call("options", image=None, audio_input=None)

        info = await house.info()
        assert info["audio_input"] is None
        assert info["image"] == f"ghcr.io/home-assistant/{info['machine']}-homeassistant"
        assert info["audio_output"] == "speaker"


async def test_refresh_token_is_kept_and_never_shown(home: CoreHouse) -> None:
    answer = await home.call("options", refresh_token="very-secret")

    assert answer.data == {}
    token = home.core.options.refresh_token
    assert token is not None
    assert token.reveal() == "very-secret"
    assert "very-secret" not in str(await home.info())

    await home.call("options", refresh_token=None)

    assert home.core.options.refresh_token is None


async def test_official_client_reads_and_sets(home: CoreHouse) -> None:
    token = await token_for(home.system, Principal("core", "homeassistant", Role.ADMIN))
    async with aiohttp.ClientSession() as session:
        client = SupervisorClient(f"http://127.0.0.1:{home.system.port}", token, session=session)

        await client.homeassistant.set_options(HomeAssistantOptions(port=8123, ssl=True, refresh_token=None))
        info = await client.homeassistant.info()

    assert (info.port, info.ssl, info.version, info.version_latest) == (8123, True, None, NEW)
