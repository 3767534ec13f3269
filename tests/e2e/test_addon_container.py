"""What an add-on's configuration becomes on the real engine, seen from inside its container and from outside.

One daemon, one add-on that asks for a bit of everything; and what is refused before the engine is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rooftree_addons.devices import DeviceNode, realtime_budget_us
from rooftree_addons.hotplug import CGROUP, allow
from tests.rig.addon import Addon
from tests.rig.addon_files import addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.files import write_files

pytestmark = pytest.mark.xdist_group("addon container")

SLUG = "local_every_thing"
FOLDERS = {
    "data": ("/own", "rw", f"apps/data/{SLUG}"),
    "homeassistant_config": ("/homeassistant", "rw", "homeassistant"),
    "app_config": ("/config", "rw", f"app_configs/{SLUG}"),
    "all_app_configs": ("/app_configs", "ro", "app_configs"),
    "local_apps": ("/local_apps", "ro", "apps/local"),
    "ssl": ("/ssl", "ro", "ssl"),
    "backup": ("/elsewhere/backup", "rw", "backup"),
    "share": ("/share", "rw", "share"),
    "media": ("/media", "ro", "media"),
}
"""What it asks for: where it sees each, whether it may write, and where that is in the data folder."""
CAPABILITIES = {"NET_ADMIN": 12, "SYS_MODULE": 16, "SYS_ADMIN": 21, "SYS_NICE": 23, "SYS_RESOURCE": 24}
"""Their bits in ``/proc/<pid>/status`` (capabilities(7))."""
MIB = 1024 * 1024
RAISES_LIMITS = bool(
    int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16) >> CAPABILITIES["SYS_RESOURCE"]
    & 1
)
"""Whether a process here may have higher limits than its parent, as ``realtime`` wants them; the engine is no other."""
GRANTED, LATER = "/dev/fuse", "/dev/loop-control"
"""A device that it asks for, and one that no container may use by itself."""


def everything() -> dict[str, Any]:
    """The add-on's configuration."""
    return {
        "map": [
            {"type": kind, "read_only": mode == "ro", "path": target} for kind, (target, mode, _) in FOLDERS.items()
        ],
        "ports": {"80/tcp": None, "81/udp": None},
        "environment": {"GREETING": "hello world"},
        "devices": [GRANTED],
        "uart": True,
        "usb": True,
        "video": True,
        "gpio": True,
        "udev": True,
        "devicetree": True,
        "journald": True,
        "kernel_modules": True,
        "realtime": RAISES_LIMITS,
        "tmpfs": True,
        "privileged": ["NET_ADMIN"],
        "ulimits": {"nofile": {"soft": 512, "hard": 1024}, "core": 0},
        "timeout": 17,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(engine: Engine, base_image: str) -> AsyncIterator[Daemon]:
    """A daemon whose local repository has the add-on."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        await offer(daemon, base_image, "every_thing", **everything())
        yield daemon


async def offer(daemon: Daemon, base_image: str, name: str, **config: Any) -> Addon:
    """Put an add-on into the local repository."""
    write_files(daemon.data_dir / "apps" / "local", addon_files(name, base=base_image, **config))
    await daemon.ok("POST", "/store/reload")
    return Addon(daemon, Engine(), f"local_{name}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def addon(daemon: Daemon, engine: Engine) -> Addon:
    """The add-on; it runs."""
    addon = Addon(daemon, engine, SLUG)
    await addon.install()
    await addon.start()
    return addon


async def test_container_shows_its_program_what_the_configuration_says(addon: Addon) -> None:
    for kind, (target, mode, folder) in FOLDERS.items():
        said = addon.run_inside(f"touch {target}/from-inside 2>/dev/null && echo rw || echo ro")
        assert (kind, said) == (kind, mode)
        assert (addon.daemon.data_dir / folder / "from-inside").exists() is (mode == "rw")

    limits = {line[:26].strip(): line[26:].split() for line in addon.run_inside("cat /proc/1/limits").splitlines()}
    assert limits["Max open files"][:2] == ["512", "1024"]
    assert limits["Max core file size"][:2] == ["0", "0"]
    if RAISES_LIMITS:
        assert limits["Max realtime priority"][:2] == ["90", "99"]
        assert limits["Max locked memory"][:2] == [str(128 * MIB)] * 2

    capabilities = int(addon.run_inside("sed -n 's/^CapBnd:\t//p' /proc/1/status"), 16)
    expected = {"NET_ADMIN": True, "SYS_MODULE": True, "SYS_NICE": RAISES_LIMITS, "SYS_ADMIN": False}
    assert {name: bool(capabilities >> CAPABILITIES[name] & 1) for name in expected} == expected

    mounts = {line.split()[1]: line.split()[2] for line in addon.run_inside("cat /proc/mounts").splitlines()}
    assert (mounts["/tmp"], mounts["/dev/shm"]) == ("tmpfs", "tmpfs")  # the container's
    for source, target in {
        "/run/udev": "/run/udev",
        "/lib/modules": "/lib/modules",
        "/sys/firmware/devicetree/base": "/device-tree",
        "/run/log/journal": "/run/log/journal",
    }.items():
        assert (target in mounts) is Path(source).exists(), target

    assert addon.run_inside("hostname; echo $GREETING") == "local-every-thing\nhello world"
    assert addon.run_inside("cat /run/cid") == addon.container_id()


async def test_engine_shows_what_the_configuration_says(addon: Addon) -> None:
    host = json.loads(addon.engine.run("inspect", "--format", "{{json .HostConfig}}", addon.container))

    added = {name.removeprefix("CAP_") for name in host["CapAdd"]}
    assert added == {"NET_ADMIN", "SYS_MODULE", *(["SYS_NICE"] if RAISES_LIMITS else [])}
    assert set(host["DeviceCgroupRules"]) >= {
        "c 10:229 rwm",
        *(f"c {major}:* rwm" for major in (204, 188, 166, 29, 81, 226, 189, 180)),
    }
    assert (host["OomScoreAdj"], host["Privileged"], host["PidMode"], host["Init"]) == (200, False, "", False)
    assert host["PortBindings"] == {}
    assert host["CpuRealtimeRuntime"] == (190_000 if RAISES_LIMITS and realtime_budget_us() >= 190_000 else 0)
    assert addon.engine.run("inspect", "--format", "{{.Config.StopTimeout}}", addon.container) == "17"


async def test_device_that_appears_later_is_opened_where_the_cgroup_can_be_told(addon: Addon) -> None:
    node = await asyncio.to_thread(DeviceNode.at, LATER)
    if node is None:
        pytest.skip(f"this machine has no {LATER}")

    def opens(device: str) -> bool:
        return addon.run_inside(f"(: <{device}) 2>/dev/null && echo yes || echo no") == "yes"

    before = opens(GRANTED), opens(LATER)
    told = await asyncio.to_thread(allow, addon.container_id(), node)

    assert before == (True, False)
    assert told is await asyncio.to_thread(CGROUP.is_dir)
    assert opens(LATER) is told


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::1"])
async def test_port_of_a_program_on_the_host_is_said_before_the_start(
    daemon: Daemon, base_image: str, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((address, 0))
        taken.listen()
        port = taken.getsockname()[1]
        name = f"port_{address.count('.') + address.count(':')}_{port}"
        wanting = await offer(daemon, base_image, name, ports={"80/tcp": port})
        await wanting.install()

        status, body = await daemon.call("POST", f"/addons/{wanting.slug}/start")

        assert (status, body["error_key"], body["extra_fields"]["port"]) == (400, "app_port_conflict", port)
        assert f"(process {os.getpid()})" in body["message"]
        assert not wanting.runs()
    await wanting.start()
    assert wanting.runs()
    await wanting.uninstall()


async def test_configuration_that_no_engine_can_follow_is_refused_by_its_keys(daemon: Daemon, base_image: str) -> None:
    absurd = {"map": [{"type": "share", "path": "/proc/here"}], "ulimits": {"bananas": 1}, "ports": {"99999/tcp": 1}}
    addon = await offer(daemon, base_image, "absurd", **absurd)

    status, body = await daemon.call("POST", f"/store/addons/{addon.slug}/install", {})

    assert (status, body["error_key"]) == (400, "app_config_unusable_error")
    for key in ("map.share", "ulimits.bananas", "ports.99999/tcp"):
        assert key in body["message"]


async def test_add_ons_of_a_stage_wait_for_their_broker_when_the_host_was_booted(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    broker = await offer(daemon, base_image, "broker", services=["mqtt:provide"], startup="services")
    needing = await offer(daemon, base_image, "a_needing", services=["mqtt:need"], startup="services")
    for addon in (broker, needing):
        await addon.install()
        await addon.start()
    await daemon.stop()
    for addon in (broker, needing):
        engine.run("kill", addon.container)
    await daemon.start()
    await daemon.recovered()

    began = [engine.run("inspect", "--format", "{{.State.StartedAt}}", addon.container) for addon in (broker, needing)]
    await asyncio.gather(broker.uninstall(), needing.uninstall())

    assert began == sorted(began)
