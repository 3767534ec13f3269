"""``/supervisor/ping``, ``/supervisor/info``, ``/info`` and ``/available_updates``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from rooftree import Kernel, Plugin, Problem, hookimpl
from rooftree.interfaces.hooks import AvailableUpdate
from rooftree.process.system import SYSTEM, System
from rooftree.testing import Client, running_system
from rooftree_supervisor.host import read_host, read_machine_id
from rooftree_supervisor.plugin import SupervisorPlugin
from rooftree_supervisor.version import COMPATIBILITY_LEVEL

ADDON = {
    "name": "Hello",
    "slug": "local_hello",
    "version": "1.0",
    "version_latest": "1.1",
    "update_available": True,
    "state": "started",
    "repository": "local",
    "icon": False,
}


class Contributing(Plugin):
    """Contributes what the test says."""

    name = "contributing"
    to_info: ClassVar[Any] = None
    to_supervisor_info: ClassVar[Any] = None
    updates: ClassVar[Any] = None

    @hookimpl
    def info(self) -> Mapping[str, Any]:
        """To ``/info``."""
        return self.to_info  # type: ignore[no-any-return]  # also what no plugin should answer

    @hookimpl
    async def supervisor_info(self) -> Mapping[str, Any]:
        """To ``/supervisor/info``."""
        return self.to_supervisor_info  # type: ignore[no-any-return]

    @hookimpl
    def available_updates(self) -> list[AvailableUpdate]:
        """To ``/available_updates``."""
        return self.updates  # type: ignore[no-any-return]


@pytest.fixture
async def contributing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Answers of a system in which another domain contributes: ``await contributing(path, attribute=value)``."""

    async def get(path: str, **contributed: Any) -> Any:
        for name, value in contributed.items():
            monkeypatch.setattr(Contributing, name, value)
        plugins = [SupervisorPlugin, Contributing]
        async with (
            running_system(tmp_path, plugins=plugins) as system,
            Client.over_unix(system) as client,
        ):
            return (await client.get(path)).data

    return get


async def test_ping_answers_without_a_token(system: System) -> None:
    async with Client.over_tcp(system) as stranger:
        answer = await stranger.get("/supervisor/ping")

    assert (answer.status, answer.envelope) == (200, {"result": "ok", "data": {}})


async def test_supervisor_info_shows_compatibility_level_and_own_version(client: Client) -> None:
    info = (await client.get("/supervisor/info")).data

    assert info["version"] == info["version_latest"] == COMPATIBILITY_LEVEL
    assert info["rooftree"] == version("rooftree")
    assert info["update_available"] is False


async def test_supervisor_info_has_nothing_from_domains_that_are_not_there(client: Client) -> None:
    info = (await client.get("/supervisor/info")).data

    assert (info["addons"], info["addons_repositories"], info["ip_address"]) == ([], [], "127.0.0.1")


async def test_info_says_what_this_machine_is(client: Client) -> None:
    info = (await client.get("/info")).data

    host = await asyncio.to_thread(read_host)
    assert info["hostname"] == socket.gethostname()
    assert (info["operating_system"], info["machine_id"], info["timezone"], info["arch"], info["machine"]) == (
        host.operating_system, host.machine_id, host.timezone, host.arch, host.machine
    )  # fmt: skip
    assert info["supported_arch"] == [host.arch]
    assert info["state"] == "running"
    assert (info["homeassistant"], info["hassos"], info["docker"], info["features"]) == (None, None, "", [])


async def test_problems_decide_on_supported_and_healthy(system: System, client: Client) -> None:
    before = (await client.get("/supervisor/info")).data
    system.problems.report(Problem("os_version", severity="unsupported"))
    system.problems.report(Problem("docker", severity="unhealthy"))

    after = (await client.get("/supervisor/info")).data

    assert (before["supported"], before["healthy"]) == (True, True)
    assert (after["supported"], after["healthy"]) == (False, False)
    assert (await client.get("/info")).data["supported"] is False


async def test_info_is_completed_by_other_domains(contributing: Any) -> None:
    info = await contributing("/info", to_info={"docker": "27.0", "arch": "aarch64", "features": ["reboot"]})

    assert (info["docker"], info["arch"], info["features"]) == ("27.0", "aarch64", ["reboot"])


async def test_supervisor_info_is_completed_by_other_domains(contributing: Any) -> None:
    contributed = {
        "addons": [ADDON],
        "addons_repositories": [{"name": "Local", "slug": "local"}],
        "ip_address": "172.30.32.2",
    }

    info = await contributing("/supervisor/info", to_supervisor_info=contributed)

    assert {key: info[key] for key in contributed} == contributed


@pytest.mark.parametrize(
    ("contributed", "dropped"),
    [
        ({"colour": "red"}, "Info.colour"),
        ({"docker": 27}, "Info.docker"),
        ({"docker": None}, "Info.docker"),
        ({"features": [1]}, "Info.features"),
        (["docker"], "Info"),
    ],
)
async def test_contribution_that_does_not_fit_is_dropped_with_a_warning(
    contributing: Any, contributed: Any, dropped: str
) -> None:
    with capture_logs() as logged:
        info = await contributing("/info", to_info=contributed)

    assert (info["docker"], info["features"], "colour" in info) == ("", [], False)
    assert [entry["what"] for entry in logged if entry["event"] == "contribution_dropped"] == [dropped]


async def test_null_is_a_value_where_the_answer_has_room_for_it(contributing: Any) -> None:
    info = await contributing("/info", to_info={"machine_id": None})

    assert info["machine_id"] is None


async def test_updates_of_all_domains_are_listed_without_the_keys_that_do_not_apply(contributing: Any) -> None:
    updates = [
        AvailableUpdate(update_type="os", version_latest="17.0", panel_path="/update-available/os"),
        AvailableUpdate(
            update_type="addon",
            version_latest="1.1",
            panel_path="/update-available/local_hello",
            name="Hello",
            icon="/addons/local_hello/icon",
        ),
    ]

    answer = await contributing("/available_updates", updates=updates)

    assert answer == {
        "available_updates": [
            {"update_type": "os", "version_latest": "17.0", "panel_path": "/update-available/os"},
            {
                "update_type": "addon",
                "version_latest": "1.1",
                "panel_path": "/update-available/local_hello",
                "name": "Hello",
                "icon": "/addons/local_hello/icon",
            },
        ]
    }


async def test_updates_that_are_none_are_dropped_with_a_warning(contributing: Any) -> None:
    with capture_logs() as logged:
        answer = await contributing("/available_updates", updates=[{"version": "1.1"}])

    assert answer == {"available_updates": []}
    assert [entry["what"] for entry in logged if entry["event"] == "contribution_dropped"] == ["available_updates"]


async def test_state_is_setup_while_plugins_start(tmp_path: Path) -> None:
    seen = []

    class Slow(Plugin):
        """Looks at ``/info`` before the system runs."""

        name = "slow"
        requires = SupervisorPlugin.provides

        async def setup(self, kernel: Kernel) -> None:
            """Ask."""
            async with Client.over_unix(systems[0]) as client:
                seen.append((await client.get("/info")).data["state"])

    class Early(SupervisorPlugin):
        """Tells the test which system it is."""

        async def setup(self, kernel: Kernel) -> None:
            """As always."""
            systems.append(kernel.service(SYSTEM))
            await super().setup(kernel)

    systems: list[System] = []
    async with (
        running_system(tmp_path, plugins=[Early, Slow]) as system,
        Client.over_unix(system) as client,
    ):
        seen.append((await client.get("/info")).data["state"])

    assert seen == ["setup", "running"]


@pytest.mark.parametrize(
    ("content", "known"),
    [(b"0123456789abcdef0123456789abcdef\n", "0123456789abcdef0123456789abcdef"), (b"uninitialized\n", None),
     (b"", None), (b"\xff" * 32, None)],
)  # fmt: skip
def test_machine_id_is_known_only_when_there_is_one(tmp_path: Path, content: bytes, known: str | None) -> None:
    path = tmp_path / "machine-id"
    path.write_bytes(content)

    assert read_machine_id(path) == known


def test_machine_id_of_a_machine_without_one_is_none(tmp_path: Path) -> None:
    assert read_machine_id(tmp_path / "machine-id") is None
