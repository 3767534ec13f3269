"""Configurations that no container can be made of: read, and refused by the keys' names before anything is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rooftree.testing import Answer
from rooftree_addons import InstalledAddon
from rooftree_addons.feasibility import AddonConfigUnusable, refuse_infeasible
from rooftree_store import AddonSlug
from tests.plugins.addons.house import HELLO, House, addon_config, refusal


def check(data: Path = Path("/nonexistent"), **keys: Any) -> None:
    """Refuse an add-on with these keys, or not."""
    refuse_infeasible(InstalledAddon.fresh(HELLO, "hello:1.0", addon_config("hello", **keys), set()), data)


def shown(*folders: tuple[str, str, str]) -> dict[str, Any]:
    """A configuration with these mapped: type, path, and ``ro`` or ``rw``."""
    return {"map": [{"type": kind, "path": path, "read_only": mode == "ro"} for kind, path, mode in folders]}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ports": {"99999/tcp": 80}}, "ports.99999/tcp: must be a port from 1 to 65535"),
        ({"ports": {"0/udp": None}}, "ports.0/udp: must be a port"),
        ({"ulimits": {"bananas": 3}}, "ulimits.bananas: must be one of as, core,"),
        ({"ulimits": {"memlock": {"soft": 5, "hard": 3}}}, "ulimits.memlock: the soft limit must not be above"),
        ({"ulimits": {"memlock": {"soft": -1, "hard": 3}}}, "ulimits.memlock: the soft limit must not be above"),
        ({"ulimits": {"nofile": 2**40}}, "ulimits.nofile: must be at most"),
        ({"ulimits": {"nofile": -1}}, "ulimits.nofile: must be at most"),
        ({"map": [{"type": "share", "path": "/proc"}]}, "map.share: /proc is no place for a folder"),
        ({"map": [{"type": "share", "path": "/etc/../proc/x"}]}, "map.share: /etc/../proc/x is no place"),
        ({"map": [{"type": "share", "path": "/sys/fs"}]}, "map.share: /sys/fs is no place"),
        ({"map": [{"type": "data", "path": "//"}]}, "map.data: // is no place"),
        ({"map": [{"type": "ssl", "path": "/data/"}]}, "map.ssl: /data/ is the place of map.data already"),
        ({"map": [{"type": "ssl", "path": "/dev"}]}, "map.ssl: /dev is the place of the host's devices already"),
        ({"map": ["addon_config", "config"], "environment": {"": "x"}}, "environment: a variable must have a name"),
        ({"environment": {"A": "\0"}}, "environment.'A': must be text without NUL"),
        ({"environment": {"A=B": "x"}}, "environment.'A=B': the name of a variable must have no ="),
        ({"environment": {"A": "x" * 131_070}}, "environment.'A': must have at most 131071 bytes"),
        ({"environment": {f"A{n}": "x" * 100_000 for n in range(21)}}, "environment: must have at most 2000000 bytes"),
        ({"ulimits": {"nofile": 6}}, "ulimits.nofile: must be at least 7"),
        ({"ulimits": {"nofile": {"soft": 3, "hard": 100}}}, "ulimits.nofile: must be at least 7"),
        (shown(("ssl", "/dev/shared", "ro")), "map.ssl: /dev/shared lies in the host's /dev"),
        (shown(("ssl", "/etc/hosts", "ro")), "map.ssl: /etc/hosts is the place of the container's names already"),
        (shown(("ssl", "/run/cid/x", "rw")), "map.ssl: /run/cid/x lies below /run/cid, which is a file"),
        (shown(("ssl", "/etc", "ro")), "map.ssl: /etc is read-only, and the container's names have to be shown at"),
        (
            shown(("ssl", "/run/", "ro")),
            "map.ssl: /run is read-only, and the container's id have to be shown at /run/cid",
        ),
        (shown(("ssl", "/" + "x" * 256, "ro")), "map.ssl: no part of the path may be longer than 255 bytes"),
        (
            shown(("ssl", "/a", "ro"), ("share", "/a/b", "rw")),
            "map.share: /a/b lies in /a of map.ssl, in which nothing",
        ),
        (shown(("all_app_configs", "/a", "rw"), ("share", "/a/b", "rw")), "map.share: /a/b lies in /a of map.all_app_"),
        ({"journald": True, **shown(("ssl", "/run/log/journal", "ro"))}, "/run/log/journal is the place of journald"),
        ({"host_dbus": True, **shown(("ssl", "/run/dbus", "ro"))}, "map.ssl: /run/dbus is the place of host_dbus"),
    ],
)
def test_value_that_cannot_be_is_named_by_its_key(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(AddonConfigUnusable) as refused:
        check(**keys)

    assert said in refused.value.message


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(AddonConfigUnusable) as refused:
        check(ports={"99999": 1}, ulimits={"bananas": 1})

    assert "ports.99999" in refused.value.message
    assert "ulimits.bananas" in refused.value.message


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"ports": {"1": None, "65535/udp": 65535}},
        {"ulimits": {"memlock": -1, "nofile": {"soft": 8, "hard": 1024}, "rtprio": {"soft": 1, "hard": -1}}},
        {"map": ["share:rw", "ssl", "media", "backup", "addon_config:rw", "all_addon_configs", "addons", "data"]},
        {"map": [{"type": "share", "path": "/process"}, {"type": "ssl", "path": "/dev/shm/shared"}]},
        {"environment": {"A B": "=", "PATH": "", "A": "x" * 131_069}},
        {"ulimits": {"nofile": 7}},
        shown(("ssl", "/a", "rw"), ("share", "/a/b", "rw")),
        shown(("ssl", "/etc/ssl", "ro"), ("share", "/run/x", "ro"), ("media", "/etc", "rw")),
        shown(("ssl", "/run/dbus", "ro"), ("share", "/" + "x" * 255, "ro")),
    ],
)
def test_value_that_can_be_is_no_matter(keys: dict[str, Any]) -> None:
    check(**keys)


def test_place_within_a_folder_that_is_read_only_may_be_there_already(tmp_path: Path) -> None:
    for folder in ("ssl/b", "app_configs/local_x"):
        (tmp_path / folder).mkdir(parents=True)

    check(tmp_path, **shown(("ssl", "/a", "ro"), ("share", "/a/b", "rw")))
    check(tmp_path, **shown(("all_app_configs", "/a", "rw"), ("share", "/a/local_x/new", "rw")))
    with pytest.raises(AddonConfigUnusable):
        check(tmp_path, **shown(("all_app_configs", "/a", "ro"), ("share", "/a/local_x/new", "rw")))


def test_most_files_are_as_many_as_the_kernel_says() -> None:
    most = int(Path("/proc/sys/fs/nr_open").read_text())

    check(ulimits={"nofile": most})
    with pytest.raises(AddonConfigUnusable):
        check(ulimits={"nofile": most + 1})


UNUSABLE = {"ports": {"99999/tcp": 80}}


def is_refused(home: House, answer: Answer) -> None:
    """Fail the test unless the key is named, and nothing was done."""
    assert "ports.99999/tcp" in refusal(answer, 400, "app_config_unusable_error")
    assert not {"pull", "create", "start"} & {name for name, _ in home.engine.calls}


async def test_installation_is_refused(home: House) -> None:
    await home.offer(config=UNUSABLE)

    is_refused(home, await home.client.post(f"/store/addons/{HELLO}/install"))


async def test_update_to_it_is_refused(home: House) -> None:
    await home.run()
    await home.offer(version="2.0", config=UNUSABLE)
    home.engine.calls.clear()

    is_refused(home, await home.client.post(f"/store/addons/{HELLO}/update"))


@pytest.mark.parametrize("verb", ["start", "restart"])
async def test_start_of_one_that_is_installed_is_refused(home: House, verb: str) -> None:
    await home.install()
    installed = home.installed().with_version("hello:1.0", None, addon_config("hello", **UNUSABLE))
    await home.system.state.commit(home.addons.installed.put(HELLO, installed))
    home.engine.calls.clear()

    is_refused(home, await home.post(HELLO, verb))


def test_name_on_the_network_is_never_longer_than_it_may_be() -> None:
    long = AddonSlug("a0d7b954_" + "x" * 52 + "__and_more")

    hostname = InstalledAddon.fresh(long, "image:1", addon_config("hello"), set()).hostname

    assert hostname == "a0d7b954-" + "x" * 52
