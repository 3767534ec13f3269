"""Add-ons that put a link where root goes: in the place of mounts, of copies, of options and of Core's secrets.

The attackers are protected add-ons without any role. What they want is the host's disk, and what others keep.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.attacks.local_addons import hostile
from tests.rig.addon import Addon
from tests.rig.addon_files import addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.files import write_files

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: links")]

CONFIGS = ["all_addon_configs:rw", "addon_config:rw"]
SECRET = "the data of another"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon for all of these."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        yield daemon


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victim(daemon: Daemon, engine: Engine, base_image: str) -> Addon:
    """An add-on with a configuration of its own, and options that are nobody's business."""
    keys = {"options": {"password": SECRET}, "schema": {"password": "str"}}
    addon = await hostile(daemon, engine, base_image, "victim", map=["addon_config:rw"], **keys)
    await addon.start()
    return addon


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def intruder(victim: Addon, engine: Engine, base_image: str) -> Addon:
    """An add-on that may write the configurations of all."""
    addon = await hostile(victim.daemon, engine, base_image, "intruder", map=CONFIGS)
    await addon.start()
    return addon


def fails(addon: Addon, script: str) -> bool:
    """Whether a script in the container ends badly."""
    return addon.run_inside(f"({script}) >/dev/null 2>&1 && echo done || echo failed") == "failed"


@pytest.mark.parametrize(
    "script",
    [
        "mv /addon_configs/local_intruder /addon_configs/away",
        "mv -T /addon_configs/local_victim /config/away",
        "rmdir /addon_configs/local_intruder",
        "rm -rf /addon_configs/local_intruder && test ! -e /addon_configs/local_intruder",
        "ln -s / /addon_configs/new",
        "mkdir /addon_configs/new",
        "touch /addon_configs/new",
        "umount /addon_configs/local_intruder",
        "mount -o remount,rw /addon_configs",
        "mount --bind / /addon_configs/local_victim",
    ],
)
async def test_names_of_the_configurations_can_be_changed_by_no_add_on(intruder: Addon, script: str) -> None:
    assert fails(intruder, script)


async def test_what_its_configuration_allows_works(intruder: Addon, victim: Addon) -> None:
    intruder.run_inside("echo hello >/addon_configs/local_victim/greeting; mkdir /addon_configs/local_intruder/deep")

    assert victim.run_inside("cat /config/greeting") == "hello"
    assert intruder.run_inside("ls /config") == "deep"


async def test_nothing_of_the_host_is_seen_after_the_attack_of_the_issue(intruder: Addon) -> None:
    assert fails(
        intruder, "mv /addon_configs/local_intruder /addon_configs/away && ln -s / /addon_configs/local_intruder"
    )

    await intruder.restart()

    assert fails(intruder, "test -e /config/proc -o -e /config/etc")


async def test_link_from_an_older_day_is_refused_by_name_and_the_host_stays_out_of_sight(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    addon = await hostile(daemon, engine, base_image, "older", map=CONFIGS)
    own = daemon.data_dir / "app_configs" / addon.slug
    own.symlink_to("/")

    for verb in ("start", "restart"):
        status, body = await daemon.call("POST", f"/addons/{addon.slug}/{verb}")
        assert (status, body["error_key"]) == (400, "app_folder_refused_error")
        assert f"app_configs/{addon.slug} is a link" in body["message"]
    assert not addon.runs()
    await daemon.ok("POST", f"/addons/{addon.slug}/uninstall", {"remove_config": True})

    assert not os.path.lexists(own)
    assert Path("/etc").is_dir()


SWAP = """\
cd /addon_configs/local_victim
while :; do
  mv inner outer; ln -s {target} inner; rm inner; mv outer inner
done
"""


async def test_copy_of_an_update_is_not_led_out_while_its_folders_are_exchanged(
    daemon: Daemon, engine: Engine, base_image: str, victim: Addon, intruder: Addon
) -> None:
    prey = daemon.data_dir / "apps" / "data" / victim.slug
    config = daemon.data_dir / "app_configs" / victim.slug
    (config / "inner").mkdir()
    (config / "inner" / "harmless").touch()
    (config / "link").symlink_to(prey)
    intruder.run_inside(f"({SWAP.format(target=prey)}) >/dev/null 2>&1 &")
    done = 0
    for version in ("1.1", "1.2", "1.3"):
        files = addon_files(
            "victim", version, base=base_image, map=["addon_config:rw"], options={"password": SECRET},
            schema={"password": "str"},
        )  # fmt: skip
        await asyncio.to_thread(write_files, daemon.data_dir / "apps" / "local", files)
        await daemon.ok("POST", "/store/reload")
        status, body = await daemon.call("POST", f"/store/addons/{victim.slug}/update", {})
        assert status == 200 or "moved while it was read" in str(body) or "could not be copied" in str(body)
        done += status == 200
        for kept in (daemon.data_dir / "apps" / "kept").glob("*/*/config"):
            names = {path.name for path in kept.rglob("*")}
            assert "options.json" not in names
            assert not (kept / "link").exists() or (kept / "link").is_symlink()
    await intruder.restart()

    assert done or (await victim.info())["state"] == "started"


async def test_core_s_secrets_are_not_read_from_where_a_link_leads(
    daemon: Daemon, engine: Engine, base_image: str, victim: Addon
) -> None:
    keys = {"options": {"word": ""}, "schema": {"word": "str"}}
    addon = await hostile(daemon, engine, base_image, "reader", map=["homeassistant_config:rw"], **keys)
    await daemon.ok("POST", f"/addons/{addon.slug}/options", {"options": {"word": "plain"}})
    await addon.start()
    where = daemon.data_dir / "apps" / "data" / victim.slug / "options.json"
    for link in (f"../apps/data/{victim.slug}/options.json", where, "/proc/self/environ", "/dev/zero", "secrets.yaml"):
        addon.run_inside(f"rm -f /homeassistant/secrets.yaml; ln -s {link} /homeassistant/secrets.yaml")
        status, body = await daemon.call(
            "POST", f"/addons/{addon.slug}/options", {"options": {"word": "!secret password"}}
        )
        assert status == 400, body
        assert SECRET not in str(body)
    for odd in ("mkfifo", "mkdir"):
        addon.run_inside(f"rm -rf /homeassistant/secrets.yaml; {odd} /homeassistant/secrets.yaml")
        async with asyncio.timeout(10):
            status, body = await daemon.call(
                "POST", f"/addons/{addon.slug}/options", {"options": {"word": "!secret password"}}
            )
        assert status == 400, body

    addon.run_inside(
        "rm -rf /homeassistant/secrets.yaml; mkdir -p /homeassistant/private; "
        "echo 'password: mine' >/homeassistant/private/s.yaml; ln -s private/s.yaml /homeassistant/secrets.yaml"
    )
    await daemon.ok("POST", f"/addons/{addon.slug}/options", {"options": {"word": "!secret password"}})
    await addon.restart()

    assert json.loads(addon.run_beside("cat /data/options.json")) == {"word": "mine"}


@pytest.mark.parametrize(
    "script",
    [
        "mkdir -p /data/options.json/a/b; touch /data/options.json/a/c",
        "mkfifo /data/options.json",
        "mknod /data/options.json p",
        "ln -s {data}/admin-token /data/options.json",
        "ln -s /data/nowhere /data/options.json",
        "ln {own} /data/options.json",
    ],
)
async def test_odd_thing_named_as_the_options_is_replaced_and_not_followed(victim: Addon, script: str) -> None:
    data = victim.daemon.data_dir
    token = (data / "admin-token").read_bytes()
    victim.run_inside("touch /data/own")
    victim.run_inside(f"rm -rf /data/options.json; {script.format(data=data, own='/data/own')}")

    async with asyncio.timeout(30):
        await victim.restart()

    assert (data / "admin-token").read_bytes() == token
    assert json.loads(victim.run_beside("cat /data/options.json")) == {"password": SECRET}
    assert victim.run_beside("cat /data/own; stat -c %F /data/options.json") == "regular file"
