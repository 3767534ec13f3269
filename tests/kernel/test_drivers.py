"""Drivers as people meet them: what the operator sets, how each is, switched off, and removed for good."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import field, frozen, validators

from rooftree import Collection, Conflict, Driver, DriverInfo, Kernel, NotFound, Plugin, document
from rooftree.process.system import System
from rooftree.testing import Client, Failing, InstalledPlugin, running_system

GROUP = "rooftree.horns"


@frozen
class HornSettings:
    pitch: int = field(default=440, validator=validators.ge(1))


class Horn:
    """What a driver derives from."""

    name: ClassVar[str]
    operator_settings: ClassVar[type | None] = None

    async def blow(self) -> str:
        raise NotImplementedError

    def fits(self) -> bool:
        return True


class Alp(Horn):
    name = "alp"
    operator_settings = HornSettings


class Post(Horn):
    name = "post"

    def fits(self) -> bool:
        return False


@document("test_drivers.tuning", version=1)
@frozen
class Tuning:
    cents: int


class Orchestra(Plugin):
    """Takes the horns that fit."""

    name = "orchestra"
    horns: ClassVar[dict[str, Driver[Horn]]] = {}

    async def setup(self, kernel: Kernel) -> None:
        tunings: Collection[Tuning] = await kernel.collection(Tuning)
        Orchestra.horns = await kernel.drivers(GROUP, Horn, kept=tunings)
        for name, driver in self.horns.items():
            if driver.kind().fits():
                driver.in_use()
                await kernel.commit(tunings.put(name, Tuning(3)))
            else:
                driver.idle("this is no post office")


def horn(name: str, kind: object) -> InstalledPlugin:
    return InstalledPlugin(name, lambda: kind, group=GROUP)


def house(
    tmp_path: Path,
    *drivers: InstalledPlugin,
    plugins: Iterable[Any] = (Orchestra,),
    allow: Iterable[Failing] = (),
    **settings: object,
) -> Any:
    chosen = drivers or (horn("alp", Alp), horn("post", Post))
    given = {key.replace("__", "."): value for key, value in settings.items()}
    return running_system(tmp_path, plugins=[*plugins, *chosen], settings=given, allow=allow)


def drivers_of(system: System) -> dict[str, tuple[str, str | None]]:
    return {driver.name: (str(driver.state), driver.reason) for driver in system.plugins.drivers()}


async def test_drivers_are_listed_with_state_reason_and_who_takes_them(tmp_path: Path) -> None:
    wrong = horn("hunting", type("Hunting", (Horn,), {"name": "hunting", "blowe": Horn.blow}))
    late = horn("late", type("Late", (Horn,), {"name": "late", "blow": lambda self: "toot"}))
    async with (
        house(tmp_path, horn("alp", Alp), horn("post", Post), wrong, late, allow={"driver_failed"}) as system,
        Client.over_unix(system) as client,
    ):
        listed = (await client.get("/kernel/v1/plugins")).data["drivers"]

    assert listed[0] == {
        "name": "horns.alp", "distribution": listed[0]["distribution"], "version": "0", "state": "in_use",
        "reason": None, "plugin": "orchestra",
    }  # fmt: skip
    assert [(row["name"], row["state"], row["reason"]) for row in listed[1:]] == [
        ("horns.hunting", "failed", "TypeError: Hunting.blowe: did you mean blow?"),
        ("horns.late", "failed", "TypeError: Late.blow must be async def"),
        ("horns.post", "idle", "this is no post office"),
    ]


async def test_drivers_that_nobody_takes_are_listed_too(tmp_path: Path) -> None:
    async with house(tmp_path, plugins__disabled=["orchestra"]) as system:
        nobody = ("idle", "no plugin that runs takes drivers of rooftree.horns")
        assert drivers_of(system) == {"horns.alp": nobody, "horns.post": nobody}
    async with house(tmp_path) as system:
        assert drivers_of(system)["horns.alp"] == ("in_use", None)
        await system.plugins.disable("orchestra")
        assert drivers_of(system)["horns.alp"] == nobody


async def test_operator_sets_up_a_driver_in_a_table_of_its_own(tmp_path: Path) -> None:
    async with house(tmp_path, horns__alp__pitch=415) as system:
        assert Orchestra.horns["alp"].settings(HornSettings) == HornSettings(415)
        assert not any(problem.type == "settings_invalid" for problem in system.problems)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"horns__alb__pitch": 1}, "no driver alb is installed; did you mean horns.alp?"),
        ({"horns__post__pitch": 1}, "the driver post has no settings; remove this"),
        ({"horms__alp__pitch": 1}, "horms is not known here; did you mean [horns]?"),
        ({"horns__alp__pitsch": 1}, "horns.alp.pitsch is not a setting; did you mean horns.alp.pitch?"),
    ],
)
async def test_slip_in_the_operators_settings_is_said(
    tmp_path: Path, settings: dict[str, object], sentence: str
) -> None:
    async with house(tmp_path, **settings, allow={"driver_failed"}) as system:
        (problem,) = [problem for problem in system.problems if problem.type == "settings_invalid"]

    assert sentence in problem.message


async def test_driver_whose_settings_are_wrong_fails_and_the_others_do_not(tmp_path: Path) -> None:
    async with house(
        tmp_path, horn("alp", Alp), horn("post", Post), horns__alp__pitch=0, allow={"driver_failed"}
    ) as system:
        state, reason = drivers_of(system)["horns.alp"]
        assert drivers_of(system)["horns.post"][0] == "idle"

    assert state == "failed"
    assert reason is not None
    assert "horns.alp.pitch must be >= 1" in reason.replace("'pitch'", "horns.alp.pitch")


async def test_reason_of_a_drivers_failure_names_type_and_place(tmp_path: Path) -> None:
    class Cracked(Horn):
        name = "cracked"

        def blow(self) -> str:  # type: ignore[override]  # that is the fault
            return "toot"

    def missing() -> object:
        return {}["brass"]

    lost = InstalledPlugin("lost", missing, group=GROUP)
    async with house(tmp_path, horn("cracked", Cracked), lost, allow={"driver_failed"}) as system:
        told = {name: reason or "" for name, (_, reason) in drivers_of(system).items()}

    wrong = r"TypeError: Cracked\.blow must be async def \(tests/kernel/test_drivers\.py:\d+, Cracked\)"
    assert re.fullmatch(wrong, told["horns.cracked"])
    assert told["horns.lost"].startswith("KeyError: 'brass'")


async def test_driver_is_disabled_and_enabled_and_its_plugin_does_without_it_meanwhile(tmp_path: Path) -> None:
    async with house(tmp_path) as system, Client.over_unix(system) as client:
        disabled = await client.post("/kernel/v1/plugins/horns.alp/disable")
        assert (disabled.data["name"], disabled.data["state"]) == ("horns.alp", "disabled")
        assert disabled.data["reason"].endswith(" over the API")
        assert set(Orchestra.horns) == {"post"}
    async with house(tmp_path) as system, Client.over_unix(system) as client:
        assert drivers_of(system)["horns.alp"][0] == "disabled"
        enabled = await client.post("/kernel/v1/plugins/horns.alp/enable")
        assert enabled.data["state"] == "in_use"
        assert set(Orchestra.horns) == {"alp", "post"}


async def test_restart_of_a_driver_is_refused_and_names_the_plugin_that_takes_it(tmp_path: Path) -> None:
    async with house(tmp_path) as system, Client.over_unix(system) as client:
        refused = await client.post("/kernel/v1/plugins/horns.alp/restart")
        await system.plugins.disable("orchestra")
        idle = await client.post("/kernel/v1/plugins/horns.alp/restart")
    assert (refused.status, refused.message) == (
        409,
        "horns.alp is a driver, and is not restarted by itself: restart plugin orchestra, which takes it",
    )
    assert (idle.status, idle.message) == (
        409,
        "horns.alp is a driver, and is not restarted by itself: no plugin takes it just now",
    )


async def test_driver_is_switched_while_nobody_takes_it(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        await system.plugins.disable("orchestra")
        await system.plugins.disable("horns.alp")
        assert drivers_of(system)["horns.alp"] == ("disabled", "by Rooftree itself")
        await system.plugins.enable("horns.alp")
        assert drivers_of(system)["horns.alp"][0] == "idle"


async def test_operators_word_on_a_driver_wins(tmp_path: Path) -> None:
    async with house(tmp_path, plugins__disabled=["horns.alp"]) as system:
        assert drivers_of(system)["horns.alp"] == ("disabled", "by flag --disabled")
        assert set(Orchestra.horns) == {"post"}
        assert not any(problem.type == "settings_invalid" for problem in system.problems)
        with pytest.raises(Conflict, match=r"Driver horns.alp is disabled by flag --disabled; change that"):
            await system.plugins.enable("horns.alp")
        with pytest.raises(NotFound, match=r"There is no driver horns.tuba; installed are horns.alp, horns.post"):
            await system.plugins.disable("horns.tuba")


async def test_what_an_uninstalled_driver_left_is_told_and_purged(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        with pytest.raises(Conflict, match=r"Driver horns.alp is installed"):
            await system.plugins.purge("horns.alp")
        await system.plugins.disable("horns.post")
    async with house(tmp_path, horn("post", Post)) as system, Client.over_unix(system) as client:
        (left,) = await system.plugins.left_behind()
        assert (left.name, left.collections, left.documents) == ("horns.alp", ["test_drivers.tuning"], 1)
        purged = (await client.delete("/kernel/v1/plugins/horns.alp")).data
        assert (purged["name"], purged["documents"]) == ("horns.alp", 1)
        assert await system.plugins.left_behind() == []
    async with house(tmp_path, horn("alp", Alp), plugins=()) as system:
        assert {left.name for left in await system.plugins.left_behind()} == {"orchestra", "horns.post"}
        await system.plugins.purge("horns.post")
    async with house(tmp_path) as system:
        assert drivers_of(system)["horns.post"][0] == "idle"  # that it was disabled is forgotten


async def test_two_groups_of_one_last_word_are_refused(tmp_path: Path) -> None:
    class Other(Plugin):
        name = "other"

        async def setup(self, kernel: Kernel) -> None:
            await kernel.drivers("acme.horns", Horn)

    async with house(tmp_path, plugins=(Orchestra, Other), allow={"plugin_failed"}) as system:
        info = system.plugins.info("other")

    assert not isinstance(info, DriverInfo)
    assert "drivers of acme.horns would be called as those of rooftree.horns" in (info.reason or "")
