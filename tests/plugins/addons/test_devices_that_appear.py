"""From the kernel's uevent to the add-on: a real device appears that a running add-on asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import hotplug
from rooftree_host import devices
from rooftree_host.plugin import HostPlugin
from tests.plugins.addons.house import HELLO, WITHIN_S, House, done, house
from tests.plugins.host.loop_devices import unused_loop_device
from tests.rig.waiting import until

NO_BUS = {"plugins.host.bus": "unix:path=/nonexistent/bus"}


async def test_add_on_lacks_a_device_from_when_it_appears_until_it_vanishes(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hotplug.allow, "__defaults__", (tmp_path / "cgroup",))
    monkeypatch.setitem(devices.HIDDEN, "block", ())
    with unused_loop_device() as device:
        async with house(tmp_path, engine, NO_BUS, plugins=[HostPlugin]) as home:
            await home.install(config={"devices": [device.node]})
            done(await home.post(HELLO, "security", {"protected": False}))  # a whole disk is for no protected add-on
            done(await home.post(HELLO, "start"))
            before = home.problem("device_access_missing")

            device.add()
            problem = await home.until_problem("device_access_missing")
            device.remove()

            await until(lambda: lacks_nothing(home), within_s=WITHIN_S, what="the problem's end")

    assert before is None
    assert problem.extra == {"device": device.node}


async def lacks_nothing(home: House) -> bool:
    """Whether the add-on has what it asks for."""
    return home.problem("device_access_missing", HELLO) is None
