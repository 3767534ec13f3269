"""A hostile add-on that has got hold of another one's token, or would like to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from attrs import frozen

from tests.rig.addon import OWN, Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.git_server import GitServer
from tests.rig.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("stolen-tokens")]

INFO = "/addons/self/info"
ASKS_AT_ONCE = """\
#!/bin/sh
trap 'exit 0' TERM
wget -q -O /data/first --header "Authorization: Bearer $SUPERVISOR_TOKEN" http://supervisor/addons/self/info
echo $? >/data/status
sleep 3600 &
wait
"""
"""A program whose first doing is to ask for what is its own. It ends at once when it is asked to."""
NET_RAW = 1 << 13
"""capabilities(7)"""
SENDS_RAW_FRAMES = "arping -c 1 -w 1 -I {interface} 203.0.113.7 2>&1; true"
NOT_PERMITTED = "Operation not permitted"


@frozen
class Street:
    """A daemon with add-ons that live beside each other."""

    daemon: Daemon
    keeper: Addon
    """May do what a manager may."""
    thief: Addon
    """May use nothing of the API."""
    host: Addon
    """A manager on the host's network."""
    scanner: Addon
    """Declares that it sends raw frames."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(engine: Engine, git_server: GitServer, base_image: str) -> AsyncIterator[Street]:
    """The daemon, with all add-ons running."""
    manager = {"hassio_api": True, "hassio_role": "manager"}
    repository = git_server.repository(
        "stolen-tokens",
        {
            **REPOSITORY,
            **addon_files("keeper", base=base_image, script=ASKS_AT_ONCE, **manager),
            **addon_files("thief", base=base_image),
            **addon_files("host", base=base_image, host_network=True, **manager),
            **addon_files("scanner", base=base_image, privileged=["NET_RAW"]),
        },
    )
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        slugs = {addon["name"]: addon["slug"] for addon in (await daemon.ok("GET", "/store/addons"))["addons"]}
        addons = {name.lower(): Addon(daemon, engine, slug) for name, slug in slugs.items()}
        for addon in addons.values():
            await addon.install()
            await addon.start()
        yield Street(daemon, **addons)


def ways(addon: Addon, token: str) -> list[int]:
    """The statuses of calls with a token from inside an add-on: to where it finds us, and, where it has the host's
    network, to the listener for the host."""
    request = (f"GET {INFO} HTTP/1.1", "Host: supervisor", f"Authorization: Bearer {token}")
    return [
        addon.status(*request, address=address)
        for address in (None, "127.0.0.1")
        if address is None or "host" in addon.slug
    ]


async def test_token_of_a_manager_opens_nothing_to_who_stole_it(street: Street) -> None:
    token = street.keeper.token()
    stolen = [*ways(street.thief, token), *ways(street.host, token)]
    status, _ = street.thief.ask("/addons", token=token)

    assert set(stolen) | {status} <= {403, 429}
    assert street.keeper.ask("/addons")[0] == 200
    assert (await street.daemon.call("GET", "/addons", token=token))[0] == 200, "it is the administrator who may use it"


async def test_theft_is_reported_with_both_addresses_and_ends_with_the_next_token(street: Street) -> None:
    keeper, thief = street.keeper, street.thief
    await keeper.restart()
    ways(thief, keeper.token())
    own, others = (address(addon) for addon in (keeper, thief))

    async def reported() -> list[str]:
        problems = (await street.daemon.ok("GET", "/kernel/v1/problems"))["problems"]
        return [problem["message"] for problem in problems if problem["type"] == "token_used_elsewhere"]

    messages = await until(reported, within_s=60, what="the problem")
    await keeper.restart()

    assert len(messages) == 1
    assert all(part in messages[0] for part in (keeper.slug, own, others))
    assert await reported() == []


def address(addon: Addon) -> str:
    """Its address on the add-on network."""
    network = f"{addon.daemon.prefix}hassio"
    return addon.engine.run(
        "inspect", "--format", f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}', addon.container
    )


async def test_add_on_on_the_hosts_network_uses_its_token_from_there_and_nobody_else_does(street: Street) -> None:
    token = street.host.token()

    assert ways(street.host, token) == [200, 200]
    assert set(ways(street.thief, token)) <= {403, 429}
    assert ways(street.host, token) == [200, 200]


@pytest.mark.parametrize("turn", range(3))
async def test_first_request_of_a_container_is_answered(street: Street, turn: int) -> None:
    """Its address is known to the engine only, when its program begins to run."""
    keeper = street.keeper
    (keeper.data / "status").unlink(missing_ok=True)
    await keeper.restart()

    async def has_asked() -> bool:
        return (keeper.data / "status").exists() and bool((keeper.data / "status").read_text())

    await until(has_asked, within_s=10, what="the answer")
    assert (keeper.data / "status").read_text() == "0\n"


@pytest.mark.parametrize("ending", ["kill", "stop"])
async def test_tokens_are_bound_as_before_once_the_daemon_is_back(street: Street, ending: str) -> None:
    token = street.keeper.token()
    await (street.daemon.kill() if ending == "kill" else street.daemon.stop())
    await street.daemon.start()

    async def is_answered() -> bool:
        return street.keeper.ask(INFO, token=OWN)[0] == 200

    await until(is_answered, within_s=10, what="an answer to who was there before")
    assert set(ways(street.thief, token)) <= {403, 429}
    assert ways(street.host, street.host.token()) == [200, 200]


def capabilities(addon: Addon) -> int:
    """What its programs can be given at most."""
    return int(addon.run_inside("grep CapBnd /proc/self/status").split()[1], 16)


async def test_nobody_listens_in_who_does_not_declare_it(street: Street) -> None:
    """On the host's network every frame of the add-ons' bridge would come by."""
    bridge = street.daemon.bridge
    tried = {
        addon.slug: NOT_PERMITTED in addon.run_inside(SENDS_RAW_FRAMES.format(interface=interface))
        for addon, interface in ((street.host, bridge), (street.thief, "eth0"), (street.scanner, "eth0"))
    }

    assert tried == {street.host.slug: True, street.thief.slug: True, street.scanner.slug: False}
    assert not (capabilities(street.host) | capabilities(street.thief)) & NET_RAW
    assert capabilities(street.scanner) & NET_RAW
    groups = street.thief.run_inside("cat /proc/sys/net/ipv4/ping_group_range").split()
    assert groups == ["0", "2147483647"], "everybody has ICMP sockets, for ping"


async def test_flag_takes_effect_at_the_next_start_and_is_what_keeps_them_from_listening(street: Street) -> None:
    bridge = street.daemon.bridge
    host = street.host
    await street.daemon.ok("POST", "/supervisor/options", {"feature_flags": {"app_drop_net_raw": False}})
    try:
        before = host.run_inside(SENDS_RAW_FRAMES.format(interface=bridge))
        await host.restart()
        after = host.run_inside(SENDS_RAW_FRAMES.format(interface=bridge))
    finally:
        await street.daemon.ok("POST", "/supervisor/options", {"feature_flags": {"app_drop_net_raw": True}})
    await host.restart()
    again = host.run_inside(SENDS_RAW_FRAMES.format(interface=bridge))

    assert [NOT_PERMITTED in output for output in (before, after, again)] == [True, False, True]


async def test_wire_of_a_daemons_network_is_guarded_and_its_ports_are_bound(street: Street, engine: Engine) -> None:
    problems = (await street.daemon.ok("GET", "/kernel/v1/problems"))["problems"]

    assert "addon_network_unguarded" not in {problem["type"] for problem in problems}
    rules = street.daemon.wire_rules()
    for addon in (street.keeper, street.thief, street.scanner):
        assert f"arp saddr ip != {address(addon)} drop" in rules
