"""``rooftree network`` at the shell: what it shows, changes and asks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rooftree.cli import rooftree
from rooftree_network import commands
from tests.plugins.network.test_network_manager import House, house

__all__ = ["house"]

ADDRESS = ("--ipv4", "192.0.2.8/24", "--gateway", "192.0.2.1")


async def run(house: House, *arguments: str, answers: str | None = None) -> Result:
    """Run it, as it is installed."""
    words = ["network", *arguments, "--socket", str(house.system.settings.kernel.socket)]
    return await asyncio.to_thread(CliRunner().invoke, rooftree, words, input=answers)


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "is_terminal", lambda: True)


async def address_of(house: House) -> Any:
    return (await house.interfaces())["eth0"]["ipv4"]["address"]


async def test_interfaces_are_listed(house: House) -> None:
    result = await run(house, "show")
    as_json = await run(house, "show", "--json")

    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["INTERFACE", "KIND", "STATE", "IPV4", "IPV6"]
    assert rows[1][:4] == ["eth0", "*", "ethernet", "connected"]
    assert json.loads(as_json.stdout)["interfaces"][0]["interface"] == "eth0"


async def test_change_for_a_program_is_judged_by_who_is_reached(house: House) -> None:
    result = await run(house, "set", "eth0", *ADDRESS, "--dns", "192.0.2.53", "--ipv6", "disabled")

    assert (result.exit_code, result.stdout) == (0, "")
    assert await address_of(house) == ["192.0.2.8/24"]
    assert (await house.interfaces())["eth0"]["ipv6"]["method"] == "disabled"


@pytest.mark.usefixtures("at_a_terminal")
@pytest.mark.parametrize(("answer", "address"), [("y\n", "192.0.2.8/24"), ("n\n", "192.0.2.7/24")])
async def test_at_a_terminal_it_stays_if_somebody_says_so(house: House, answer: str, address: str) -> None:
    result = await run(house, "set", "eth0", *ADDRESS, answers=answer)

    async with asyncio.timeout(3):
        while not all(job.done for job in house.system.jobs.listing()):
            await asyncio.sleep(0.02)

    assert result.exit_code == 0, result.output
    assert "Keep it?" in result.output
    assert await address_of(house) == [address]


@pytest.mark.usefixtures("at_a_terminal")
async def test_what_is_so_already_is_said(house: House) -> None:
    result = await run(house, "set", "eth0", "--up")
    assert "It is so already" in result.stdout


async def test_plan_is_shown_and_nothing_done(house: House) -> None:
    result = await run(house, "set", "eth0", *ADDRESS, "--plan")

    assert "ipv4.method: auto → manual" in result.stdout
    assert await address_of(house) == ["192.0.2.7/24"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "say what is to be otherwise"),
        (("--gateway", "192.0.2.1"), "belongs to ipv4"),
        (("--ipv4", "192.0.2.8/24", "--dns", "2001:db8::1"), "belongs to ipv6"),
    ],
)
async def test_what_can_not_be_meant_is_said_here(house: House, arguments: tuple[str, ...], sentence: str) -> None:
    result = await run(house, "set", "eth0", *arguments)

    assert result.exit_code == 2
    assert sentence in result.output


async def test_nothing_to_confirm_is_an_error(house: House) -> None:
    result = await run(house, "confirm")

    assert result.exit_code == 1
    assert "No change of the network waits to be confirmed" in result.output
