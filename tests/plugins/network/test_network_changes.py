"""Changes of wireless networks, VLANs and what goes wrong: a stand-in for NetworkManager on a real bus, for there is no
radio to test with. Wires of a real NetworkManager are in ``tests/host``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rooftree.testing import Client
from rooftree_network import access_points, activation, reach, trials
from tests.bus.machine import NETWORK_MANAGER as NM
from tests.plugins.network.test_network_manager import House, house
from tests.rig.waiting import until

__all__ = ["house"]

FIXED = {"method": "static", "address": ["192.0.2.8/24"], "gateway": "192.0.2.1"}
KEY = "up the ladder, first left"
ATTIC = {"ssid": "attic", "auth": "wpa-psk", "psk": KEY}


@pytest.fixture(autouse=True)
def nobody_is_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "ASKS_S", 0.05)
    monkeypatch.setattr(trials, "RESTORES_S", 0.3)


async def update(house: House, interface: str, **said: Any) -> Any:
    return await house.client.post(f"/network/interface/{interface}/update", json=said)


async def called(house: House) -> list[str]:
    return [name for name, _ in await house.manager.calls()]


async def test_wireless_network_is_changed_and_its_key_is_told_to_nobody_else(house: House) -> None:
    plan = await house.client.post("/network/interface/wlan0/update?plan=1", json={"wifi": ATTIC})
    answer = await update(house, "wlan0", wifi=ATTIC)
    calls = await house.manager.calls()
    shown = (await house.interfaces())["wlan0"]["wifi"]
    rows = await house.system.database.read(
        lambda c: [c.execute(f"SELECT * FROM {table}").fetchall() for table in ("job", "step", "audit", "document")]
    )

    assert answer.status == 200, answer.text
    assert shown["ssid"] == "attic"
    (settings,) = (arguments[0] for name, arguments in calls if name == "Update2" and arguments[0])
    assert KEY in str(settings) and "802-11-wireless-security" in settings
    assert KEY not in str(rows)
    assert KEY not in plan.text + answer.text
    assert plan.data["steps"][0]["downtime"] is True
    assert "wifi.ssid: Café � → attic" in plan.data["steps"][0]["notes"]


async def test_key_of_a_network_is_kept_when_only_its_addresses_change(house: House) -> None:
    shown = (await house.interfaces())["wlan0"]["wifi"]
    await house.manager.calls()
    same = {"ssid": shown["ssid"], "auth": shown["auth"], "mode": shown["mode"]}
    answer = await update(house, "wlan0", wifi=same, ipv4=FIXED)
    names = await called(house)

    assert answer.status == 200, answer.text
    assert "Reapply" in names and "ActivateConnection" not in names
    assert "GetSecrets" in names, "for the way back"


async def test_network_that_becomes_open_keeps_nothing_of_its_key(house: House) -> None:
    answer = await update(house, "wlan0", wifi={"ssid": "square"})
    shown = (await house.interfaces())["wlan0"]["wifi"]

    assert answer.status == 200, answer.text
    assert (shown["ssid"], shown["auth"], shown["key_management"]) == ("square", "open", None)


async def test_connection_that_fails_says_why_and_is_what_it_was(house: House) -> None:
    before = await house.interfaces()
    await house.manager.order(do="remember", service=NM, fails_with=8)
    answer = await update(house, "wlan0", wifi=ATTIC)
    await house.manager.order(do="remember", service=NM, fails_with=None)
    after = await house.interfaces()

    assert (answer.status, answer.envelope["error_key"]) == (400, "host_network_activation_failed_error")
    assert "the key may be the wrong one" in answer.message and KEY not in answer.text
    assert after["wlan0"]["wifi"]["ssid"] == before["wlan0"]["wifi"]["ssid"]
    assert "CheckpointRollback" in await called(house)


async def test_address_that_does_not_come_is_not_waited_for_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "ADDRESS_S", 0.2)
    answer = await update(house, "eth1", enabled=True)

    assert (answer.status, answer.envelope["error_key"]) == (400, "host_network_activation_timeout_error")
    assert "eth1 did not get an IPv4 address within 0.2 s" in answer.message
    assert not (await house.interfaces())["eth1"]["enabled"]


async def test_access_points_are_told_when_the_card_has_looked(house: House) -> None:
    began = asyncio.get_running_loop().time()
    first = (await house.client.get("/network/interface/wlan0/accesspoints")).data["accesspoints"]
    took_s = asyncio.get_running_loop().time() - began
    again = (await house.client.get("/network/interface/wlan0/accesspoints")).data["accesspoints"]
    wire = await house.client.get("/network/interface/eth0/accesspoints")

    assert [(point["ssid"], point["signal"]) for point in first] == [("Café �", 67), ("��attic", 40)]
    assert first[0] | {"ssid": ""} == {
        "mode": "infrastructure", "ssid": "", "frequency": 2412, "signal": 67, "mac": "02:00:00:00:01:07",
    }  # fmt: skip
    assert took_s < access_points.SCANS_S / 3
    assert again == first, "a card that may not look again tells what it has seen"
    assert wire.status == 400


async def test_network_whose_name_is_no_text_is_joined_by_the_name_that_is_shown(house: House) -> None:
    await house.client.get("/network/interface/wlan0/accesspoints")
    await house.manager.calls()
    answer = await update(house, "wlan0", wifi={"ssid": "��attic"})
    settings = [arguments[0] for name, arguments in await house.manager.calls() if name == "Update2" and arguments[0]]

    assert answer.status == 200, answer.text
    assert "xff" in str(settings) and "xfeattic" in str(settings)


async def test_vlan_comes_with_its_addresses_and_goes_altogether(house: House) -> None:
    far = {"method": "static", "address": ["203.0.113.2/24"], "gateway": "203.0.113.1"}
    added = await house.client.post("/network/interface/eth0/vlan/7", json={"ipv4": far})
    shown = (await house.interfaces())["eth0.7"]
    twice = await house.client.post("/network/interface/eth0/vlan/7", json={})
    on_vlan = await house.client.post("/network/interface/eth0.42/vlan/8", json={})
    long = await house.client.post("/network/interface/wlan0/vlan/8", json={})
    removed = await update(house, "eth0.7", enabled=False)

    assert added.status == 200, added.text
    assert (shown["vlan"], shown["ipv4"]["address"]) == ({"id": 7, "parent": "eth0"}, ["203.0.113.2/24"])
    assert (twice.status, on_vlan.status, long.status) == (400, 400, 400)
    assert removed.status == 200, removed.text
    assert not (await house.interfaces())["eth0.7"]["enabled"]


async def test_interface_that_nobody_manages_and_one_that_nobody_knows_are_not_found(house: House) -> None:
    unmanaged, unknown = await update(house, "eth2", enabled=True), await update(house, "eth7", enabled=True)

    assert {unmanaged.envelope["error_key"], unknown.envelope["error_key"]} == {
        "host_network_interface_update_not_found_error"
    }
    assert (unmanaged.status, "nmcli device set eth2 managed yes" in unmanaged.message) == (404, True)


async def test_profiles_that_may_not_be_read_are_not_changed(house: House) -> None:
    await house.manager.order(do="remember", service=NM, unreadable=True)
    answer = await update(house, "eth0", ipv4=FIXED)

    assert answer.status == 503 and "can't see Rooftree's process" in answer.message
    assert not {"Update2", "Reapply", "CheckpointCreate"} & {*await called(house)}


@pytest.mark.parametrize("method", ["CheckpointCreate", "Reapply", "Update2", "CheckpointDestroy"])
async def test_what_network_manager_refuses_leaves_all_as_it_was(house: House, method: str) -> None:
    before = (await house.interfaces())["eth0"]
    await house.manager.order(
        do="fail", service=NM, method=method, error=f"{NM}.Failed", text="not today", once=method != "Reapply"
    )
    answer = await update(house, "eth0", ipv4=FIXED)
    after = (await house.interfaces())["eth0"]

    if method == "Reapply":  # it is connected anew instead
        assert answer.status == 200, answer.text
        assert "ActivateConnection" in await called(house)
    else:
        assert answer.status >= 400 and "not today" in answer.message
        assert after["ipv4"]["address"] == before["ipv4"]["address"]
        assert [problem for problem in house.system.problems if problem.type == "undo_failed"] == []


async def test_bus_that_is_lost_in_between_is_waited_for_with_what_is_to_be_taken_back(house: House) -> None:
    await house.interfaces()
    answer = await update(house, "eth0", ipv4=FIXED, confirm_within=60)
    await until(lambda: waits(house.client), within_s=5, what="the trial")
    await house.manager.order(do="vanish", service=NM)
    error = await until(lambda: first_error(house, answer.data["job_id"]), within_s=5, what="its error")
    open_still = not done(house, answer.data["job_id"])
    await house.manager.order(do="appear", service=NM)
    await until(lambda: is_done(house, answer.data["job_id"]), within_s=10, what="the end of the job")

    assert "NetworkManager" in error
    assert open_still
    assert (await house.interfaces())["eth0"]["ipv4"]["address"] == ["192.0.2.7/24"]


async def waits(client: Client) -> Any:
    return (await client.get("/kernel/v1/network/trial")).data["waiting"]


def done(house: House, job_id: str) -> bool:
    return next(job for job in house.system.jobs.listing() if job.uuid == job_id).done


async def is_done(house: House, job_id: str) -> bool:
    return done(house, job_id)


async def first_error(house: House, job_id: str) -> str:
    job = next(job for job in house.system.jobs.listing() if job.uuid == job_id)
    return job.errors[0].message if job.errors else ""


async def test_second_change_waits_for_the_end_of_the_first(house: House) -> None:
    first = await update(house, "eth0", ipv4=FIXED, confirm_within=60)
    await until(lambda: waits(house.client), within_s=5, what="the trial")
    second = asyncio.ensure_future(update(house, "wlan0", wifi=ATTIC))
    confirmed = await house.client.post("/kernel/v1/network/confirm")
    answer = await second

    assert (first.status, confirmed.status, answer.status) == (200, 200, 200)
    shown = await house.interfaces()
    assert (shown["eth0"]["ipv4"]["address"], shown["wlan0"]["wifi"]["ssid"]) == (["192.0.2.8/24"], "attic")
