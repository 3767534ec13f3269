"""``POST /supervisor/options``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import Invalid, Plugin, Step, Steps, hookimpl, job, step
from rooftree.interfaces import hooks
from rooftree.interfaces.hooks import RepositoriesChange
from rooftree.plugins.kernel import Kernel
from rooftree.process import RecentLogs
from rooftree.process.system import System
from rooftree.settings import load
from rooftree.testing import Client, Failing, InstalledPlugin, running_system
from rooftree_supervisor.plugin import SupervisorPlugin

OPTIONS = "/supervisor/options"

SOMETHING_ELSE: dict[str, Any] = {
    "channel": "beta",
    "timezone": "Europe/Berlin",
    "country": "DE",
    "logging": "warning",
    "debug": True,
    "debug_block": True,
    "diagnostics": False,
    "auto_update": True,
    "wait_boot": 60,
}


async def shown(client: Client) -> dict[str, Any]:
    """What ``/supervisor/info`` says."""
    return dict((await client.get("/supervisor/info")).data)


@asynccontextmanager
async def administrator(
    folder: Path, *plugins: type[Plugin], allow: Iterable[Failing] = (), **settings: object
) -> AsyncIterator[Client]:
    """A client of a system with the supervisor and other plugins; ``__`` in a setting's name stands for a dot."""
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    async with (
        running_system(folder, plugins=[SupervisorPlugin, *plugins], settings=dotted, allow=allow) as system,
        Client.over_unix(system) as client,
    ):
        yield client


@pytest.mark.parametrize("option", SOMETHING_ELSE)
async def test_option_is_changed_alone(client: Client, option: str) -> None:
    before = await shown(client)

    answer = await client.post(OPTIONS, json={option: SOMETHING_ELSE[option]})

    assert answer.data == {}
    assert before[option] != SOMETHING_ELSE[option]
    assert await shown(client) == before | {option: SOMETHING_ELSE[option]}


async def test_options_are_kept_over_a_restart(tmp_path: Path) -> None:
    async with administrator(tmp_path) as client:
        assert (await client.post(OPTIONS, json=SOMETHING_ELSE)).status == 200

    async with administrator(tmp_path) as client:
        info = await shown(client)

    assert {name: info[name] for name in SOMETHING_ELSE} == SOMETHING_ELSE


async def test_changes_at_the_same_time_all_take_effect(client: Client) -> None:
    await asyncio.gather(*(client.post(OPTIONS, json={name: value}) for name, value in SOMETHING_ELSE.items()))

    info = await shown(client)
    assert {name: info[name] for name in SOMETHING_ELSE} == SOMETHING_ELSE


@pytest.mark.parametrize(("option", "default"), [("country", None), ("diagnostics", None), ("timezone", "the host's")])
async def test_null_takes_a_choice_back(client: Client, option: str, default: str | None) -> None:
    before = await shown(client)
    await client.post(OPTIONS, json={option: SOMETHING_ELSE[option]})

    await client.post(OPTIONS, json={option: None})

    assert await shown(client) == before
    assert default == "the host's" or before[option] is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "The body has no option in it; give at least one of addons_repositories, auto_update"),
        ({"chanel": "beta"}, "chanel: is not known here; allowed are addons_repositories, auto_update, channel"),
        ({"channel": "nightly"}, "channel: must be one of 'stable', 'beta', 'dev', not 'nightly'"),
        ({"channel": None}, "channel: must"),
        ({"timezone": "Europe/Atlantis"}, "timezone: must be a time zone, such as Europe/Berlin"),
        ({"timezone": "Europe"}, "timezone: must be a time zone"),
        ({"timezone": "../../etc/passwd"}, "timezone: must be a time zone"),
        ({"timezone": "/etc/localtime"}, "timezone: must be a time zone"),
        ({"timezone": ""}, "timezone: must be a time zone"),
        ({"timezone": "a\0b"}, "timezone: must be a time zone"),
        ({"timezone": 1}, "timezone: must be a string"),
        ({"logging": "loud"}, "logging: must be one of 'debug', 'info'"),
        ({"debug": "true"}, "debug: must be true or false"),
        ({"auto_update": None}, "auto_update: must"),
        ({"wait_boot": 0}, "wait_boot: must be from 1 to 60, not 0"),
        ({"wait_boot": 61}, "wait_boot: must be from 1 to 60, not 61"),
        ({"wait_boot": 5.0}, "wait_boot: must be a whole number"),
        ({"detect_blocking_io": True}, "detect_blocking_io: must be one of 'on', 'off', 'on-at-startup'"),
        ({"feature_flags": {"time_travel": True}}, "feature_flags.time_travel: is not known here"),
        ({"feature_flags": {"supervisor_v2_api": True}}, "feature_flags.supervisor_v2_api: must be false"),
        ({"feature_flags": {"app_reduced_capabilities": True}}, "feature_flags.app_reduced_capabilities: must be"),
        ({"feature_flags": {"app_drop_net_raw": "off"}}, "feature_flags.app_drop_net_raw: must be true or false"),
        ({"feature_flags": {"supervisor_v2_api": 1}}, "feature_flags.supervisor_v2_api: must be true or false"),
        ({"addons_repositories": "https://example.org"}, "addons_repositories: must be a list"),
        ({"addons_repositories": [1]}, "addons_repositories[0]"),
    ],
)
async def test_wrong_option_is_refused_and_changes_nothing(client: Client, body: dict[str, Any], sentence: str) -> None:
    before = await shown(client)

    answer = await client.post(OPTIONS, json=({"country": "DE"} | body) if body else body)

    assert (answer.status, answer.message[: len(sentence)]) == (400, sentence)
    assert await shown(client) == before


async def test_feature_flag_may_be_left_off(client: Client) -> None:
    answer = await client.post(OPTIONS, json={"feature_flags": {"supervisor_v2_api": False}})

    assert answer.status == 200
    assert (await shown(client))["feature_flags"]["supervisor_v2_api"] is False


async def test_raw_frames_are_dropped_unless_that_is_switched_off_and_it_is_kept(tmp_path: Path) -> None:
    async with administrator(tmp_path) as client:
        usual = (await shown(client))["feature_flags"]
        await client.post(OPTIONS, json={"feature_flags": {"app_drop_net_raw": False, "supervisor_v2_api": False}})
    async with administrator(tmp_path) as client:
        off = (await shown(client))["feature_flags"]

    assert usual == {name: name == "app_drop_net_raw" for name in usual}
    assert off == dict.fromkeys(usual, False)


async def test_operator_who_drops_raw_frames_is_not_contradicted(tmp_path: Path) -> None:
    body = {"feature_flags": {"app_drop_net_raw": False}}
    async with administrator(tmp_path, plugins__supervisor__app_drop_net_raw=True) as client:
        refused = await client.post(OPTIONS, json=body)
        flags = (await shown(client))["feature_flags"]

    assert refused.status == 409
    assert "app_drop_net_raw is set by the operator" in refused.message
    assert flags["app_drop_net_raw"] is True


# --- what takes effect at once ------------------------------------------------------------------------------------


async def test_logging_takes_effect_at_once_and_after_a_restart(tmp_path: Path) -> None:
    root = logging.getLogger()
    async with administrator(tmp_path) as client:
        await client.post(OPTIONS, json={"logging": "error"})
        at_once = root.level
    root.setLevel(logging.INFO)

    async with administrator(tmp_path):
        later = root.level

    assert (at_once, later) == (logging.ERROR, logging.ERROR)


@pytest.mark.parametrize(
    ("mode", "now", "after_restart"),
    [("on", True, False), ("on-at-startup", True, True), ("on_at_startup", True, True), ("off", False, False)],
)
async def test_detection_of_blocking_calls_is_switched(
    tmp_path: Path, mode: str, now: bool, after_restart: bool
) -> None:
    loop = asyncio.get_running_loop()
    async with administrator(tmp_path) as client:
        await client.post(OPTIONS, json={"detect_blocking_io": mode})
        assert ((await shown(client))["detect_blocking_io"], loop.get_debug()) == (now, now)
    loop.set_debug(False)

    async with administrator(tmp_path) as client:
        assert ((await shown(client))["detect_blocking_io"], loop.get_debug()) == (after_restart, after_restart)


# --- what the operator has decided --------------------------------------------------------------------------------


async def test_operators_settings_are_in_effect(tmp_path: Path) -> None:
    async with administrator(
        tmp_path, plugins__supervisor__timezone="Asia/Tokyo", plugins__supervisor__wait_boot=30
    ) as client:
        info = await shown(client)

    assert (info["timezone"], info["wait_boot"]) == ("Asia/Tokyo", 30)


@pytest.mark.parametrize(
    ("setting", "decided", "body"),
    [
        ("plugins.supervisor.timezone", "Asia/Tokyo", {"timezone": "Europe/Berlin"}),
        ("plugins.supervisor.timezone", "Asia/Tokyo", {"timezone": None}),
        ("plugins.supervisor.auto_update", False, {"auto_update": True}),
        ("plugins.supervisor.detect_blocking_io", False, {"detect_blocking_io": "on"}),
        ("kernel.log_level", "warning", {"logging": "debug"}),
    ],
)
async def test_option_that_contradicts_the_operator_is_a_conflict(
    tmp_path: Path, setting: str, decided: object, body: dict[str, Any]
) -> None:
    async with administrator(tmp_path, **{setting: decided}) as client:
        before = await shown(client)
        answer = await client.post(OPTIONS, json={"country": "DE"} | body)
        after = await shown(client)

    (option,) = body
    assert answer.status == 409
    assert answer.message.startswith(f"{option} is set by the operator (flag --")
    assert answer.envelope["extra_fields"]["option"] == option
    assert after == before


async def test_option_that_agrees_with_the_operator_is_no_conflict(tmp_path: Path) -> None:
    async with administrator(
        tmp_path, plugins__supervisor__timezone="Asia/Tokyo", plugins__supervisor__detect_blocking_io=True
    ) as client:
        answer = await client.post(
            OPTIONS, json={"timezone": "Asia/Tokyo", "country": "JP", "detect_blocking_io": "on"}
        )
        info = await shown(client)

    assert answer.status == 200
    assert (info["timezone"], info["country"]) == ("Asia/Tokyo", "JP")


async def test_conflict_names_the_line_of_the_operators_file(tmp_path: Path) -> None:
    config = tmp_path / "rooftree.toml"
    config.write_text('[plugins.supervisor]\n# at home\ntimezone = "Asia/Tokyo"\n')
    flags = {"data_dir": str(tmp_path / "data"), "port": 0}
    settings = await asyncio.to_thread(load, config=config, environ={}, flags=flags)
    system = System(settings, RecentLogs(), [hooks])
    await system.open()
    try:
        await system.start_plugins([InstalledPlugin("supervisor", lambda: SupervisorPlugin)])
        async with Client.over_unix(system) as client:
            answer = await client.post(OPTIONS, json={"timezone": "Europe/Berlin"})
    finally:
        await system.stop()

    assert answer.status == 409
    assert "timezone is set by the operator (rooftree.toml line 3)" in answer.message


async def test_unknown_time_zone_of_the_operator_stops_the_plugin_and_names_the_setting(tmp_path: Path) -> None:
    settings = {"plugins.supervisor.timezone": "Europe/Atlantis"}
    async with running_system(
        tmp_path, plugins=[SupervisorPlugin], settings=settings, allow={"plugin_failed"}
    ) as system:
        (plugin,) = list(system.plugins)

    assert plugin.state == "failed"
    assert plugin.reason is not None
    assert plugin.reason.startswith("flag --timezone: plugins.supervisor.timezone must be a time zone, such as Europe/")


# --- repositories -------------------------------------------------------------------------------------------------


@step("test_options.keep/1")
class Keep(Step):
    sources: list[str]

    async def do(self) -> None:
        Repositories.kept = self.sources


@job("keep")
async def keep(sources: list[str]) -> Steps:
    return [Keep(sources)]


class Repositories(Plugin):
    """Keeps repositories."""

    name = "repositories"
    refusal: ClassVar[Invalid | None] = None
    broken: ClassVar[bool] = False

    async def setup(self, kernel: Kernel) -> None:
        """Begin with none."""
        type(self).kept = []

    kept: ClassVar[list[str]] = []

    @hookimpl
    async def set_repositories(self, sources: list[str]) -> RepositoriesChange:
        """The job that keeps them."""
        if self.broken:
            raise RuntimeError("broken")
        if self.refusal is not None:
            return RepositoriesChange(refusal=self.refusal)
        return RepositoriesChange(keep(sources=sources))


async def test_repositories_are_handed_to_who_keeps_them(tmp_path: Path) -> None:
    async with administrator(tmp_path, Repositories) as client:
        answer = await client.post(OPTIONS, json={"addons_repositories": ["https://example.org/a"], "country": "DE"})
        async with asyncio.timeout(10):
            while (info := await shown(client))["country"] is None or not Repositories.kept:  # nobody waits for the job
                await asyncio.sleep(0.01)

    assert answer.data == {}
    assert Repositories.kept == ["https://example.org/a"]
    assert info["country"] == "DE"


async def test_refused_repositories_are_told_to_the_client_and_nothing_else_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Repositories, "refusal", Invalid("addons_repositories: nonsense is no address"))

    async with administrator(tmp_path, Repositories) as client:
        answer = await client.post(OPTIONS, json={"addons_repositories": ["nonsense"], "country": "DE"})
        info = await shown(client)

    assert (answer.status, answer.message) == (400, "addons_repositories: nonsense is no address")
    assert info["country"] is None


@pytest.mark.parametrize("broken", [True, False])
async def test_repositories_that_nobody_takes_are_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(Repositories, "broken", broken)
    plugins = [Repositories] if broken else []

    async with administrator(tmp_path, *plugins, allow={"hook_failed"}) as client:
        answer = await client.post(OPTIONS, json={"addons_repositories": [], "country": "DE"})
        info = await shown(client)

    assert answer.status == 503
    assert answer.message.startswith("addons_repositories: no plugin took them over")
    assert info["country"] is None
