"""What is read of devices by libudev: also of those that call themselves what is no text, and of more than are kept."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rooftree_host import udev
from rooftree_host.udev import Uevents
from tests.plugins.host.udev_daemon import NAMESPACES
from tests.requirements import needs

WITHIN_S = 30.0
UEVENTS = [Path(f"/sys/class/mem/{name}/uevent") for name in ("full", "null", "random", "zero")]


def _possible() -> bool:
    return (
        os.geteuid() == 0
        and all(shutil.which(program) for program in ("unshare", "ip"))
        and subprocess.run([*NAMESPACES, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    )


needs_namespaces = needs(_possible(), "needs root, namespaces, and the package iproute2")


async def said_apart(prepare: str, script: str) -> Any:
    """What a script prints last, as JSON, in namespaces of its own that were prepared by a shell."""
    process = await asyncio.create_subprocess_exec(
        *NAMESPACES, "sh", "-ec", f'{prepare}\nexec "$0" -c "$1"', sys.executable, script,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(WITHIN_S):
        said, _ = await process.communicate()
    assert process.returncode == 0, "it failed; its standard error says why"
    return json.loads(said.splitlines()[-1])


@needs_namespaces
async def test_device_is_shown_whole_when_one_of_its_properties_is_no_text() -> None:
    prepare = r"""
        mount -t tmpfs run /run
        mkdir -p /run/udev/data
        printf 'I:1\nS:caf\351\nS:plain\nE:ID_MODEL=caf\351\nE:ID_VENDOR=Acme\n' > /run/udev/data/c1:3
    """
    script = """
import json
from rooftree_host.devices import shown_devices
from rooftree_host.udev import Udev
shown = {device.dev_path: device for device in shown_devices(Udev().all())}
device = shown["/dev/null"]
print(json.dumps([device.by_id, dict(device.attributes), "/dev/zero" in shown]))
"""
    by_id, properties, others = await said_apart(prepare, script)  # /dev/null is c1:3

    assert (properties["ID_MODEL"], properties["ID_VENDOR"]) == ("caf\N{REPLACEMENT CHARACTER}", "Acme")
    assert "/dev/plain" in properties["DEVLINKS"]
    assert (by_id, others) == (None, True)


@needs_namespaces
async def test_network_interface_whose_name_is_no_text_hides_no_other_device_and_no_uevent() -> None:
    script = """
import asyncio, json, subprocess
from rooftree_host.udev import Udev, Uevents

async def main():
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure["message"]))
    uevents = Uevents()
    uevents.open()
    add = ["ip", "link", "add", b"caf\\xe9", "type", "veth", "peer", "name", "plain"]
    await (await asyncio.create_subprocess_exec(*add)).wait()
    changes = await uevents.burst(10)
    uevents.close()
    print(json.dumps({"heard": [*changes.paths], "found": [*Udev().all()], "failures": failures}))

asyncio.run(main())
"""
    said = await said_apart("mount -t sysfs sys /sys", script)

    plain = "/sys/devices/virtual/net/plain"
    assert said["failures"] == []
    assert plain in said["heard"]
    assert plain in said["found"]
    assert not any("caf" in path for path in (*said["heard"], *said["found"]))


@needs(all(os.access(uevent, os.W_OK) for uevent in UEVENTS), "needs a /sys that can be written to")
async def test_when_uevents_are_about_more_devices_than_are_kept_everything_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(udev, "PENDING", len(UEVENTS) - 1)
    uevents = await asyncio.to_thread(Uevents)
    uevents.open()
    for uevent in UEVENTS:
        uevent.write_text("change")

    changes = await uevents.burst(WITHIN_S)

    uevents.close()
    assert changes.everything
    assert len(changes.paths) == len(UEVENTS) - 1
