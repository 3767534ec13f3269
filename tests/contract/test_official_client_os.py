"""The official client, aiohasupervisor, on Home Assistant OS and elsewhere: all calls of its ``os`` component."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohasupervisor.exceptions as refusals
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import (
    BootSlotName,
    GreenOptions,
    MigrateDataOptions,
    OSUpdate,
    SetBootSlotOptions,
    YellowOptions,
)
from aiohasupervisor.models.os import SwapOptions

from rooftree import Principal, Role
from rooftree.testing import token_for
from tests.bus.machine import AGENT
from tests.contract.client_answers import checked
from tests.plugins.os.haos import NEW, Haos, surroundings


async def client_of(haos: Haos) -> SupervisorClient:
    """The client, as Home Assistant Core has it."""
    token = await token_for(haos.system, Principal("core", "homeassistant", Role.ADMIN))
    return SupervisorClient(f"http://127.0.0.1:{haos.system.port}", token, source="rooftree")


@pytest.fixture
async def haos(tmp_path: Path) -> AsyncIterator[Haos]:
    """A system on Home Assistant OS."""
    async with surroundings(tmp_path) as around, around.system() as running:
        yield await running.settled()


async def test_everything_that_the_client_asks_of_the_os_is_answered(haos: Haos) -> None:
    async with await client_of(haos) as client:
        info = checked(await client.os.info())
        swap = checked(await client.os.swap_info())
        disks = checked(await client.os.list_data_disks())
        firmware = checked(await client.os.raspberry_pi_firmware_info())
        yellow = checked(await client.os.yellow_info())
        await client.os.set_yellow_options(YellowOptions(disk_led=False, heartbeat_led=False, power_led=True))
        await client.os.set_swap_options(SwapOptions(swap_size="1G", swappiness=10))
        await client.os.config_sync()
        await client.os.update_raspberry_pi_firmware()
        await client.os.update(OSUpdate(version="16.1"))
        await client.os.update()
        pending = await client.os.info()
        await client.os.set_boot_slot(SetBootSlotOptions(boot_slot=BootSlotName.B))
        await client.os.migrate_data(MigrateDataOptions(device=disks[0].id))
        await client.os.wipe_data()

        assert (info.version, info.version_latest, info.board) == ("16.0", NEW, "yellow")
        assert (swap.swap_size, firmware.update_available, yellow.disk_led) == ("2G", True, True)
        assert (pending.version, pending.version_pending) == ("16.0", NEW)
        assert (await client.os.yellow_info()).heartbeat_led is False


async def test_lights_of_a_green_are_those_of_the_client(tmp_path: Path) -> None:
    async with surroundings(tmp_path) as around:
        await around.parts.change(AGENT, "/io/hass/os/Boards", "io.hass.os.Boards", Board="Green")
        async with around.system() as running, await client_of(running) as client:
            options = GreenOptions(activity_led=False, power_led=True, system_health_led=False)
            await client.os.set_green_options(options)

            green = checked(await client.os.green_info())
            assert (green.activity_led, green.power_led, green.system_health_led) == (False, True, False)


async def test_another_system_is_told_in_the_clients_own_terms(tmp_path: Path) -> None:
    async with (
        surroundings(tmp_path, machine="tests.bus.stand_ins") as around,
        around.system() as running,
        await client_of(running) as client,
    ):
        info = checked(await client.os.info())

        assert (info.version, info.board, info.boot_slots) == (None, None, {})
        assert checked(await client.os.list_data_disks()) == []
        with pytest.raises(refusals.SupervisorNotFoundError):
            await client.os.swap_info()
        with pytest.raises(refusals.SupervisorBadRequestError):
            await client.os.yellow_info()
        with pytest.raises(refusals.SupervisorBadRequestError):
            await client.os.update()
