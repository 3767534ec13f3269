"""Who comes to Core's port while Core starts is led to the page, until Core listens; by real rules of the kernel."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rooftree.testing.containers import FakeContainerEngine
from rooftree_homeassistant import landing_page, port_lead
from rooftree_homeassistant.home_assistant import CONTAINER
from rooftree_homeassistant.port_lead import LeadImpossible, PortLead, listening_ports
from tests.plugins.homeassistant.first_home import FirstHome, first_home
from tests.plugins.homeassistant.house import NEW
from tests.plugins.homeassistant.listening import listening
from tests.requirements import needs
from tests.rig.service_process import free_port
from tests.rig.waiting import until

rules = needs(
    shutil.which("nft") is not None and os.geteuid() == 0, "needs root, and the command nft (package nftables)"
)


async def who(home: FirstHome, port: int | None = None) -> str:
    """Who answers there."""
    try:
        answer = await home.ask(port=port)
    except OSError:
        return "nobody"
    return "core" if answer.body == b"core" else "page"


@asynccontextmanager
async def starting_home(
    folder: Path, engine: FakeContainerEngine, patch: pytest.MonkeyPatch
) -> AsyncIterator[FirstHome]:
    """A house whose Core was started, and does not listen yet."""
    async with first_home(folder, engine, patch, leads=True) as home:
        await home.until_shown(stage="fetching")
        engine.publish_image(home.image(NEW))
        await home.until_installed()
        yield home


async def test_machine_knows_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        ports = await asyncio.to_thread(listening_ports)

        assert listener.getsockname()[1] in ports
        assert bound.getsockname()[1] not in ports


async def test_machine_without_such_files_has_no_listeners(tmp_path: Path) -> None:
    assert await asyncio.to_thread(listening_ports, tmp_path) == frozenset()


@rules
async def test_somebody_answers_at_any_moment_between_the_page_and_core(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = engine.hold("start")
    answers: list[str] = []
    async with first_home(tmp_path, engine, monkeypatch, leads=True) as home, asyncio.TaskGroup() as group:

        async def look() -> None:
            while "core" not in answers:
                answers.append(await who(home))

        await home.until_shown(stage="fetching")
        looking = group.create_task(look())
        engine.publish_image(home.image(NEW))
        await starting.reached.wait()
        assert await who(home, home.ports.usual) == "page"
        starting.release()
        await home.until_installed()
        assert (await home.ask()).told["stage"] == "starting"
        async with listening(home.ports.core, b"core"):
            await asyncio.wait_for(looking, 5)
            assert await who(home) == "core"
            await until(lambda: is_nobody(home, home.ports.usual), within_s=5, what="the end of the rule")

    assert set(answers) == {"page", "core"}


async def is_nobody(home: FirstHome, port: int) -> bool:
    return await who(home, port) == "nobody"


@rules
@pytest.mark.parametrize("end", ["core ends", "too long", "another port", "plugin stops"])
async def test_nobody_is_led_any_more_when_core_does_not_come(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    async with starting_home(tmp_path, engine, monkeypatch) as home:
        assert await who(home) == "page"

        match end:
            case "core ends":
                engine.crash(CONTAINER)
            case "too long":
                monkeypatch.setattr(landing_page, "LEADS_S", 0)
                home.core.containers.kernel.service(landing_page.LANDING_PAGE)._lead.until = 0  # type: ignore[union-attr]
            case "another port":
                other = free_port()
                await home.client.post("/core/options", json={"port": other})
                async with listening(other, b"core"):
                    await until(lambda: is_nobody(home, home.ports.core), within_s=5, what="the end of the rule")
            case _:
                await home.system.plugins.disable("homeassistant")

        await until(lambda: is_nobody(home, home.ports.core), within_s=5, what="the end of the rule")
        await until(lambda: has_no_rule(home), within_s=5, what="the end of its table")


async def has_no_rule(home: FirstHome) -> bool:
    child = await asyncio.create_subprocess_exec("nft", "list", "tables", stdout=asyncio.subprocess.PIPE)
    said, _ = await child.communicate()
    return home.system.data.instance_id[:12].encode() not in said


@rules
async def test_rule_that_a_kill_left_is_taken_away_at_the_next_start(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with starting_home(tmp_path, engine, monkeypatch) as home:
        ports, rule = home.ports, PortLead(home.system.data.instance_id[:12])
    await rule.begin([ports.core], ports.usual)

    async with first_home(tmp_path, engine, monkeypatch, ports=ports) as home:
        await until(lambda: has_no_rule(home), within_s=5, what="the end of its table")


@rules
async def test_rule_ends_by_itself_unless_it_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_lead, "STAYS_S", 1)
    rule, port = PortLead(f"test{os.getpid()}"), free_port()
    target = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)

    async def is_led() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    async def is_not_led() -> bool:
        return not await is_led()

    async with target:
        await rule.begin([port], target.sockets[0].getsockname()[1])
        try:
            assert await is_led()
            await until(is_not_led, within_s=5, what="the end of the rule")
            await rule.renew([port])
            assert await is_led()
        finally:
            await rule.end()
        assert not await is_led()


async def test_machine_that_can_lead_nobody_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LeadImpossible, match=r"nft \(package nftables\) can't be run"):
        await PortLead("x").begin([1], 2)


async def test_rule_that_nft_refuses_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = tmp_path / "nft"
    command.write_text("#!/bin/sh\necho 'Operation not permitted (you must be root)'\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(LeadImpossible, match=r"nft failed: Operation not permitted"):
        await PortLead("x").end()
