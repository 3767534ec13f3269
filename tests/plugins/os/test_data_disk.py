"""``/os/datadisk/…``: which disks are offered, and what moving and wiping do."""

from __future__ import annotations

import pytest
from aiohasupervisor.models.os import DataDiskList

from rooftree import Failed, Plugin, Principal, Role, hookimpl
from rooftree.interfaces.bus import SYSTEM_BUS
from rooftree.testing import Client, token_for
from rooftree_os.data_disk import DATA_DISKS, ChangeDataDevice, PartitionDisk, ScheduleWipe
from rooftree_os.reboot import REBOOTS
from tests.bus.machine import AGENT, UDISKS
from tests.bus.os_machine import (
    EARLIER,
    EMMC,
    EMPTY,
    FREE,
    LARGE,
    MOUNTED,
    OPENED,
    SMALL,
    SWAPPING,
    VOLUME,
)
from tests.plugins.os.haos import Haos, Surroundings
from tests.rig.waiting import until

CHANGES = ("Format", "CreatePartition", "MarkDataMove", "ChangeDevice", "ScheduleWipeDevice", "Reboot")


async def test_only_disks_that_nothing_uses_are_offered(haos: Haos) -> None:
    listed = await haos.get("/os/datadisk/list")

    assert listed == {
        "devices": ["SSD-0002"],
        "disks": [
            {
                "name": "Acme SSD (0002)",
                "vendor": "Acme",
                "model": "SSD",
                "serial": "0002",
                "size": LARGE,
                "id": "SSD-0002",
                "dev_path": FREE,
            }
        ],
    }
    assert len(DataDiskList.from_dict(listed).disks) == 1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (EMMC, "the data is on it now"),
        ("eMMC-0001", "the data is on it now"),
        (MOUNTED, f"{MOUNTED}1 is mounted at /media/stick"),
        (SWAPPING, f"{SWAPPING} is swap space in use"),
        (SMALL, "it is too small: it has 4096 bytes"),
        (VOLUME, f"{VOLUME}1 is part of a volume group or an array"),
        (OPENED, f"{OPENED} is encrypted and opened"),
        (EMPTY, "there is no medium in it"),
        (EARLIER, f"{EARLIER}1 belongs to an installation of Home Assistant OS (hassos-system0)"),
        ("/dev/sr0", "it is an optical drive"),
    ],
)
async def test_disk_in_use_is_refused_with_the_reason_and_not_touched(
    haos_as_it_is: Haos, device: str, reason: str
) -> None:
    answer = await haos_as_it_is.post("/os/datadisk/move", {"device": device})

    assert (answer.status, answer.envelope["error_key"]) == (400, "os_data_disk_refused_error")
    assert reason in answer.message
    assert await haos_as_it_is.called(*CHANGES) == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("device", ["nothing", "", f"{FREE}1", f"{EMMC}boot0", None])
async def test_disk_that_is_none_is_refused_with_those_that_are_offered(haos_as_it_is: Haos, device: object) -> None:
    answer = await haos_as_it_is.post("/os/datadisk/move", {"device": device})

    assert (answer.status, "device: " in answer.message) == (400, True)
    assert device is None or f"no disk {device!r}; the data can be moved to SSD-0002" in answer.message
    assert await haos_as_it_is.called(*CHANGES) == []


async def test_disk_is_partitioned_marked_and_the_machine_rebooted(haos: Haos) -> None:
    await haos.done("/os/datadisk/move", {"device": "SSD-0002"})

    calls = dict(await haos.called(*CHANGES))
    assert set(calls) == {"Format", "CreatePartition", "MarkDataMove", "Reboot"}
    assert calls["Format"][0] == "gpt"
    assert calls["CreatePartition"][:4] == [
        0,
        0,
        "0fc63daf-8483-4772-8e79-3d69d8477de4",
        "hassos-data-external",
    ]
    (disk,) = [disk for disk in (await haos.system.services.get(DATA_DISKS).disks()).all if disk.path == FREE]
    assert disk.is_prepared


async def test_disk_that_was_partitioned_before_a_kill_is_not_formatted_again(haos: Haos) -> None:
    await haos.parts.order(do="fail", service=AGENT, method="MarkDataMove", error="io.hass.Failed", text="read-only")
    refused = await haos.post("/os/datadisk/move", {"device": FREE})
    assert "read-only" in refused.message
    assert len(await haos.called("Format", "Reboot")) == 1

    again = await haos.post("/os/datadisk/move", {"device": FREE})

    assert "read-only" in again.message
    assert await haos.called("Format", "CreatePartition") == []


async def test_older_agent_partitions_itself(haos: Haos) -> None:
    await haos.parts.change(AGENT, "/io/hass/os", AGENT, Version="1.4.1")

    await haos.done("/os/datadisk/move", {"device": "SSD-0002"})

    assert sorted(await haos.called(*CHANGES)) == [("ChangeDevice", [FREE]), ("Reboot", [False])]


@pytest.mark.parametrize("kind", [PartitionDisk, ChangeDataDevice])
async def test_disk_that_has_changed_its_place_since_the_plan_was_made_is_left_alone(
    haos: Haos, kind: type[PartitionDisk | ChangeDataDevice]
) -> None:
    services = haos.system.services
    step = kind("SSD-0002", "/dev/elsewhere")

    with pytest.raises(Failed, match=f"was /dev/elsewhere and is {FREE} now: nothing was changed"):
        await step.do(services.get(SYSTEM_BUS), services.get(DATA_DISKS))

    assert await haos.called(*CHANGES) == []


async def test_disk_that_is_used_since_the_plan_was_made_is_left_alone(haos: Haos) -> None:
    plan = (await haos.client.post("/os/datadisk/move?plan=1", json={"device": FREE})).data
    assert [step["reversible"] for step in plan["steps"]] == [False, False, False]
    assert plan["downtime"] is True
    assert await haos.called(*CHANGES) == []
    await haos.parts.order(
        do="put",
        service=UDISKS,
        path="/org/freedesktop/UDisks2/block_devices/sda",
        interface="org.freedesktop.UDisks2.Swapspace",
        values={"Active": ("b", True)},
    )

    answer = await haos.post("/os/datadisk/move", {"device": FREE})

    assert "is swap space in use" in answer.message
    assert await haos.called(*CHANGES) == []


async def test_udisks_that_is_not_there_is_unavailable(haos: Haos) -> None:
    await haos.parts.order(do="vanish", service=UDISKS)

    for answer in (await haos.client.get("/os/datadisk/list"), await haos.post("/os/datadisk/move", {"device": "x"})):
        assert (answer.status, UDISKS in answer.message) == (503, True)


async def test_wipe_is_scheduled_and_the_machine_rebooted(haos: Haos) -> None:
    await haos.done("/os/datadisk/wipe")

    assert sorted(await haos.called(*CHANGES)) == [("Reboot", [False]), ("ScheduleWipeDevice", [])]


class Objecting(Plugin):
    """Speaks against a reboot."""

    name = "objecting"

    @hookimpl
    def objections_to_host_end(self) -> str:
        """Why."""
        return "Core changes its database"


@pytest.mark.parametrize(
    ("path", "body"), [("datadisk/wipe", {}), ("datadisk/move", {"device": FREE}), ("boot-slot", {"boot_slot": "B"})]
)
async def test_what_ends_in_a_reboot_is_not_begun_while_something_speaks_against_it(
    around: Surroundings, path: str, body: dict[str, str]
) -> None:
    async with around.system(Objecting) as haos:
        answer = await haos.post(f"/os/{path}", body)

        assert (answer.status, "Core changes its database" in answer.message) == (503, True)
        assert await haos.called(*CHANGES) == []


async def test_wipe_is_for_administrators_only(haos: Haos) -> None:
    token = await token_for(haos.system, Principal("manager", "somebody", Role.MANAGER))
    async with Client.over_tcp(haos.system, token) as client:
        refused = await client.post("/os/datadisk/wipe", json={})

    assert refused.status == 403
    assert await haos.called(*CHANGES) == []


async def test_wipe_that_the_agent_refuses_does_not_reboot(haos: Haos) -> None:
    await haos.parts.order(
        do="fail", service=AGENT, method="ScheduleWipeDevice", error="io.hass.Failed", text="no cmdline.txt"
    )

    answer = await haos.post("/os/datadisk/wipe")

    assert (answer.status, "no cmdline.txt" in answer.message) == (500, True)
    assert await haos.called("Reboot") == []


async def test_wipe_of_an_earlier_boot_is_not_scheduled(haos: Haos) -> None:
    services = haos.system.services
    with pytest.raises(Failed, match="nothing was erased"):
        await ScheduleWipe("0" * 32).do(services.get(SYSTEM_BUS), services.get(REBOOTS))

    assert await haos.called(*CHANGES) == []


async def test_without_the_agent_nothing_is_moved_or_wiped(haos: Haos) -> None:
    await haos.parts.order(do="vanish", service=AGENT)

    async def seen() -> bool:
        return "unsupported os_agent" in haos.problems()

    await until(seen, within_s=10, what="the end of the agent")

    for path, body in (("/os/datadisk/move", {"device": FREE}), ("/os/datadisk/wipe", {})):
        answer = await haos.post(path, body)
        assert (answer.status, answer.envelope["error_key"]) == (400, "job_condition_error")
    assert await haos.get("/os/datadisk/list") == {"devices": [], "disks": []}
    assert await haos.called(*CHANGES) == []
