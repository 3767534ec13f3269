"""``/kernel/v1/plugins``: listed, and switched off, on and over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import orjson
import pytest
from click.testing import CliRunner, Result

from rooftree import Kernel, Plugin, Principal, Role, Routes, Service, role
from rooftree.cli import rooftree
from rooftree.process import RecentLogs
from rooftree.process.system import System
from rooftree.testing import Client, running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin
from rooftree_supervisor.preferences import PREFERENCES

PLUGINS = "/kernel/v1/plugins"


class Clock:
    """A service."""


CLOCK = Service[Clock]("clock/1")


class ClockPlugin(Plugin):
    """Shows the time."""

    name = "clock"
    provides = (CLOCK,)
    fails: ClassVar[str] = ""

    async def setup(self, kernel: Kernel) -> None:
        """Wind it up."""
        if self.fails:
            raise RuntimeError(self.fails)
        kernel.provide(CLOCK, Clock())

    def routes(self) -> Routes:
        """The time."""
        found = Routes()

        def time(clock: Clock) -> None: ...

        found.get("/clock", access=role(Role.DEFAULT))(time)
        return found


class AlarmPlugin(Plugin):
    """Rings."""

    name = "alarm"
    requires = (CLOCK,)


class LampPlugin(Plugin):
    """Shines, as long as we answer."""

    name = "lamp"
    requires = (PREFERENCES,)


@pytest.fixture(autouse=True)
def winds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClockPlugin, "fails", "")


@pytest.fixture
async def system(tmp_path: Path, logs: RecentLogs) -> AsyncIterator[System]:
    chosen = [SupervisorPlugin, AlarmPlugin, ClockPlugin, LampPlugin]
    async with running_system(tmp_path, plugins=chosen, logs=logs, allow={"plugin_failed"}) as running:
        yield running


async def listed(client: Client) -> dict[str, tuple[str, str | None]]:
    return {row["name"]: (row["state"], row["reason"]) for row in (await client.get(PLUGINS)).data["plugins"]}


ALL_OK = dict.fromkeys(("alarm", "clock", "lamp", "supervisor"), ("ok", None))


async def test_plugin_is_disabled_with_its_dependents_and_enabled_again(client: Client) -> None:
    disabled = (await client.post(f"{PLUGINS}/clock/disable")).data

    assert disabled == {
        "name": "clock", "distribution": disabled["distribution"], "version": "0", "state": "disabled",
        "reason": disabled["reason"], "provides": ["clock/1"], "requires": [], "optional": [],
    }  # fmt: skip
    assert disabled["reason"].startswith("by local:")
    assert disabled["reason"].endswith(" over the API")
    assert await listed(client) == {
        **ALL_OK,
        "clock": ("disabled", disabled["reason"]),
        "alarm": ("failed", "it requires plugin clock, which is disabled"),
    }
    answer = await client.get("/clock")
    assert (answer.status, answer.message) == (503, f"Plugin clock is disabled: {disabled['reason']}")

    enabled = (await client.post(f"{PLUGINS}/clock/enable")).data

    assert (enabled["state"], enabled["reason"]) == ("ok", None)
    assert await listed(client) == ALL_OK
    assert (await client.get("/clock")).status == 200


async def test_who_switched_it_off_is_said_and_audited(system: System, client: Client) -> None:
    admin = await token_for(system, Principal("token", "grafana", Role.ADMIN))

    answer = await client.post(f"{PLUGINS}/clock/disable", token=admin)

    assert answer.data["reason"] == "by token:grafana over the API"
    newest = (await client.get("/kernel/v1/audit?limit=1")).data["entries"][0]
    assert (newest["who"], newest["what"], newest["outcome"]) == ("token:grafana", "state", "done")
    assert "plugin_choice" in newest["subject"]
    assert "clock" in newest["subject"]


async def test_plugin_that_fails_when_it_is_restarted_is_shown_with_its_reason(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClockPlugin, "fails", "the spring is broken")
    restarted = (await client.post(f"{PLUGINS}/clock/restart")).data
    assert restarted["state"] == "failed"
    assert restarted["reason"].startswith("RuntimeError: the spring is broken (tests/plugins/supervisor/")
    assert (await client.get("/supervisor/ping")).status == 200

    monkeypatch.setattr(ClockPlugin, "fails", "")
    assert (await client.post(f"{PLUGINS}/clock/restart")).data["state"] == "ok"
    assert await listed(client) == ALL_OK


async def test_supervisor_itself_is_disabled_enabled_and_restarted_over_the_api_with_who_needs_it(
    client: Client,
) -> None:
    assert (await client.post(f"{PLUGINS}/supervisor/disable")).data["state"] == "disabled"
    assert (await client.get("/supervisor/ping")).status == 503
    assert (await listed(client))["lamp"] == ("failed", "it requires plugin supervisor, which is disabled")

    assert (await client.post(f"{PLUGINS}/supervisor/enable")).data["state"] == "ok"
    assert (await client.post(f"{PLUGINS}/supervisor/restart")).data["state"] == "ok"
    assert (await client.get("/supervisor/ping")).status == 200
    assert await listed(client) == ALL_OK


async def test_what_the_operators_settings_say_is_a_conflict_naming_where(tmp_path: Path, logs: RecentLogs) -> None:
    chosen = [SupervisorPlugin, ClockPlugin]
    settings = {"plugins.disabled": ["clock"]}
    async with (
        running_system(tmp_path, plugins=chosen, logs=logs, settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        answer = await client.post(f"{PLUGINS}/clock/enable")

        assert (answer.status, answer.message) == (409, "Plugin clock is disabled by flag --disabled; change that")
        assert answer.envelope["extra_fields"] == {"plugin": "clock"}
        assert (await client.post(f"{PLUGINS}/clock/restart")).status == 409


@pytest.mark.parametrize("verb", ["enable", "disable", "restart"])
async def test_plugin_that_is_not_installed_is_not_found(client: Client, verb: str) -> None:
    answer = await client.post(f"{PLUGINS}/acme/{verb}")

    assert answer.status == 404
    assert answer.message == "There is no plugin acme; installed are alarm, clock, lamp, supervisor"


@pytest.mark.parametrize("verb", ["enable", "disable", "restart"])
async def test_only_administrators_switch_plugins(system: System, client: Client, verb: str) -> None:
    manager = await token_for(system, Principal("token", "program", Role.MANAGER))

    async with Client.over_tcp(system, manager) as program:
        assert (await program.get(PLUGINS)).status == 200
        assert (await program.post(f"{PLUGINS}/clock/{verb}")).status == 403
    assert await listed(client) == ALL_OK


async def test_calls_that_come_at_once_leave_a_state_that_one_of_them_asked_for(client: Client) -> None:
    verbs = ["disable", "enable", "restart", "disable", "enable", "restart", "enable"]

    answers = await asyncio.gather(*(client.post(f"{PLUGINS}/clock/{verb}") for verb in verbs))

    assert {answer.status for answer in answers} <= {200, 409}  # a restart of what is disabled just then
    assert (await client.post(f"{PLUGINS}/clock/enable")).data["state"] == "ok"
    assert await listed(client) == ALL_OK


# --- the command line -------------------------------------------------------------------------------------------------


async def cli(system: System, *words: str) -> Result:
    """Run ``rooftree`` in a thread, as its own process would."""
    there = ["--socket", str(system.settings.kernel.socket)]
    return await asyncio.to_thread(CliRunner().invoke, rooftree, [*there, "plugins", *words])


async def test_command_line_switches_plugins_and_says_how_they_are(
    system: System, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    disabled = await cli(system, "disable", "clock")
    assert disabled.stdout.startswith("clock is disabled: by local:")
    assert (await listed(client))["clock"][0] == "disabled"

    assert (await cli(system, "enable", "clock")).stdout == "clock is ok\n"
    assert await listed(client) == ALL_OK

    monkeypatch.setattr(ClockPlugin, "fails", "the spring is broken")
    restarted = await cli(system, "restart", "clock", "--json")
    assert orjson.loads(restarted.stdout)["reason"].startswith("RuntimeError: the spring is broken (")


async def test_command_line_says_what_the_daemon_refuses(system: System) -> None:
    absent = await cli(system, "restart", "acme")

    assert absent.exit_code == 1
    assert absent.stderr == "Error: There is no plugin acme; installed are alarm, clock, lamp, supervisor\n"
