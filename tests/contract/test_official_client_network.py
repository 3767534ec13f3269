"""The official client's calls for network, mounts and what is wrong: in the versions that Core may have.

Core asks for the network and the mounts every five minutes and for what is wrong every thirty, and loses all that it
asked for together when one answer cannot be read. So every answer is read here that there can be: with NetworkManager
and without, with and without an engine, and with every problem that any of our sources can report.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from uuid import UUID

import aiohasupervisor.exceptions as refusals
import pytest
from aiohasupervisor.models import (
    AuthMethod,
    CheckOptions,
    CheckType,
    InterfaceMethod,
    IPv4Config,
    IPv6Config,
    MulticastDnsMode,
    NetworkInterfaceConfig,
    VlanConfig,
    WifiConfig,
)
from aiohasupervisor.models.resolution import ContextType, SuggestionType

from rooftree import Invalid, Principal, Problem, Role
from rooftree.process.system import System
from rooftree.testing import Failing, running_system, token_for
from rooftree.testing.containers import FakeContainerEngine
from rooftree_resolution.resolution import RESOLUTION
from tests.bus.private_bus import private_bus, services
from tests.contract.client_answers import Used, checked, methods_of
from tests.contract.door import SETTINGS, our_plugins
from tests.contract.inhabited import RUNS, inhabited_house
from tests.contract.test_official_client import calling
from tests.contract.test_problems import CONTEXTS, mentions, sources
from tests.packaging.environments import find_uv
from tests.requirements import missing

CORE = Principal("core", "homeassistant", Role.ADMIN)
COVERED = ("network", "resolution")
OLDER = "0.8.1"
"""The version that Core 2026.11 pins."""
READ_BY_OLDER = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from aiohasupervisor import SupervisorClient

async def main():
    async with SupervisorClient(sys.argv[2], sys.argv[3]) as client:
        network, mounts = await client.network.info(), await client.mounts.info()
        resolution = await client.resolution.info()
        for issue in resolution.issues:
            await client.resolution.suggestions_for_issue(issue.uuid)
        print(len(network.interfaces), len(mounts.mounts), len(resolution.issues))

asyncio.run(main())
"""
BY_HAND = {"registry_login"}
"""What is suggested and cannot be done from here: it takes what only the user knows."""


@asynccontextmanager
async def house(
    folder: Path,
    *,
    engine: FakeContainerEngine | None = None,
    manager: bool = False,
    allow: Collection[Failing] = (),
) -> AsyncIterator[System]:
    """A system with all our plugins; on a bus with NetworkManager, or on none."""
    plugins = await asyncio.to_thread(lambda: [*our_plugins(engine or FakeContainerEngine())])
    sockets = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="rooftree-")
    with sockets as socket_folder:
        if not manager:
            async with running_system(folder, plugins=plugins, settings=SETTINGS, allow=allow) as system:
                yield system
            return
        async with (
            private_bus(Path(socket_folder)) as bus,
            services(bus.address, machine="tests.bus.network_machine"),
            running_system(folder, plugins=plugins, settings={**SETTINGS, "plugins.host.bus": bus.address}) as system,
        ):
            yield system


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client in the older version; what it needs is in our environment."""
    folder = tmp_path_factory.mktemp("older-client")
    install = [find_uv(), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable,
               "--target", folder / "packages", f"aiohasupervisor=={OLDER}"]  # fmt: skip
    done = subprocess.run([str(word) for word in install], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"needs aiohasupervisor {OLDER} of the package registry: {done.stderr.strip()[-300:]}")
    return folder / "packages"


async def read_by_older(older: Path, system: System) -> list[int]:
    """How many interfaces, mounts and issues the older client reads."""
    return [int(word) for word in (await run_with_older(older, system, READ_BY_OLDER)).split()]


async def run_with_older(older: Path, system: System, program: str) -> str:
    """What a program with the older client prints; told where that, the server and a token are."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(older), f"http://127.0.0.1:{system.port}",
        await token_for(system, CORE), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    told, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return told.decode()


def test_every_call_is_made_or_on_record() -> None:
    offered = {method for component in COVERED for method in methods_of(component)}

    assert len(offered) > 10
    assert offered - Used.by(Path(__file__)).methods == set()


# --- network and mounts -----------------------------------------------------------------------------------------------


async def test_network_is_read_as_network_manager_has_it(tmp_path: Path, older: Path) -> None:
    async with house(tmp_path, manager=True) as system, calling(system, CORE) as client:
        info = checked(await client.network.info())
        default = checked(await client.network.interface_info("default"))
        by_name = [checked(await client.network.interface_info(entry.interface)) for entry in info.interfaces]
        await client.network.reload()
        read = await read_by_older(older, system)

    assert [entry.interface for entry in info.interfaces] == ["eth0", "eth0.42", "eth1", "wlan0", "wlan1"]
    assert by_name == info.interfaces
    assert default.ipv4 is not None
    assert default.ipv4.address == [IPv4Interface("192.0.2.7/24")]
    assert (info.docker.address, info.docker.dns) == (IPv4Network("172.30.32.0/23"), IPv4Address("172.30.32.3"))
    assert read[0] == 5


async def test_interfaces_are_changed_and_told_as_they_are_then(tmp_path: Path) -> None:
    fixed = IPv4Config(method=InterfaceMethod.STATIC, address=[IPv4Interface("192.0.2.8/24")],
                       gateway=IPv4Address("192.0.2.1"))  # fmt: skip
    attic = WifiConfig(ssid="attic", method=AuthMethod.WPA_PSK, psk="up the ladder")
    async with house(tmp_path, manager=True) as system, calling(system, CORE) as client:
        config = NetworkInterfaceConfig(ipv4=fixed, ipv6=IPv6Config(method=InterfaceMethod.DISABLED))
        await client.network.update_interface("default", config)
        await client.network.update_interface("wlan0", NetworkInterfaceConfig(wifi=attic))
        await client.network.save_vlan("eth0", 7, VlanConfig(ipv4=fixed, mdns=MulticastDnsMode.OFF))
        shown = {entry.interface: entry for entry in checked(await client.network.info()).interfaces}
        await client.network.update_interface("eth0.7", NetworkInterfaceConfig(enabled=False))
        points = checked(await client.network.access_points("wlan0"))
        after = checked(await client.network.interface_info("eth0.7"))

    eth0, wlan0, vlan = shown["eth0"], shown["wlan0"], shown["eth0.7"]
    assert eth0.ipv4 is not None and eth0.ipv6 is not None and wlan0.wifi is not None and vlan.vlan is not None
    assert (eth0.ipv4.address, eth0.ipv6.method) == ([IPv4Interface("192.0.2.8/24")], InterfaceMethod.DISABLED)
    assert (wlan0.wifi.ssid, wlan0.wifi.auth) == ("attic", AuthMethod.WPA_PSK)
    assert (vlan.vlan.id, vlan.vlan.parent, vlan.mdns) == (7, "eth0", MulticastDnsMode.OFF)
    assert [point.signal for point in points] == [67, 40]
    assert not after.enabled


REFUSALS = [
    (refusals.HostNetworkInterfaceUpdateNotFoundError, "eth7", NetworkInterfaceConfig(enabled=True)),
    (refusals.HostNetworkInterfaceUpdateNotFoundError, "eth2", NetworkInterfaceConfig(enabled=True)),
    (refusals.HostNetworkInterfaceUpdateNotFoundError, "eth1", NetworkInterfaceConfig(mdns=MulticastDnsMode.OFF)),
    (refusals.HostNetworkWifiPskRequiredError, "wlan0", NetworkInterfaceConfig(
        wifi=WifiConfig(ssid="attic", method=AuthMethod.WPA_PSK))),
    (refusals.SupervisorBadRequestError, "eth0", NetworkInterfaceConfig(
        ipv4=IPv4Config(nameservers=[IPv4Address("192.0.2.53")]))),
    (refusals.HostNetworkInterfaceUpdateError, "eth0", NetworkInterfaceConfig(enabled=False)),
]  # fmt: skip


async def test_changes_that_are_refused_are_told_apart(tmp_path: Path) -> None:
    async with house(tmp_path, manager=True) as system, calling(system, CORE) as client:
        for refusal, interface, config in REFUSALS:
            with pytest.raises(refusal):
                await client.network.update_interface(interface, config)


async def test_network_and_mounts_are_read_without_bus_and_engine(tmp_path: Path, older: Path) -> None:
    engine = FakeContainerEngine()
    engine.go_away()
    async with house(tmp_path, engine=engine) as system, calling(system, CORE) as client:
        network = checked(await client.network.info())
        mounts = checked(await client.mounts.info())
        read = await read_by_older(older, system)

    assert network.docker.interface == "hassio"
    assert network.host_internet is None
    assert (mounts.mounts, mounts.default_backup_mount) == ([], None)
    assert read[1] == 0


# --- what is wrong ----------------------------------------------------------------------------------------------------


def every_problem() -> Iterator[Problem]:
    """One problem of each type, context and severity that is reported anywhere in our sources. What is worked out at
    run time stands for every context, and has every suggestion that a client knows and one that it does not."""
    reported = [mention for path in sources() for reports, mention in mentions(path) if reports]
    for number, mention in enumerate(reported):
        contexts = [mention.context] if mention.context is not None else sorted(CONTEXTS)
        for context in contexts:
            for severity in ("issue", "unsupported", "unhealthy"):
                yield Problem(
                    type=mention.type or f"worked_out_{number}",
                    context=context,
                    reference=f"{number}/{severity}" if mention.reference else None,
                    message=f"Reported at {mention.where}",
                    suggestions=(*SuggestionType, "think_again"),
                    severity=severity,  # type: ignore[arg-type]
                    extra={"number": number, "names": ["a"], "nothing": None} if number % 2 else None,
                )


async def test_every_problem_that_can_be_reported_is_read(tmp_path: Path, older: Path) -> None:
    problems = list(every_problem())
    keys = {problem.key for problem in problems}
    allow: set[Failing] = {
        "driver_failed",
        "hook_failed",
        "undo_failed",
        "task_failed",
        "plugin_failed",
        "loop_blocked",
    }
    async with house(tmp_path, allow=allow) as system, calling(system, CORE) as client:
        # The house looks for backups by itself at its start, and would report one of these with suggestions of its own.
        await client.resolution.check_options(CheckType.BACKUPS, CheckOptions(enabled=False))
        await client.resolution.healthcheck()
        read = []
        for severity in ("issue", "unsupported", "unhealthy"):
            for problem in problems:
                if problem.severity == severity:
                    system.problems.report(problem)
            info = checked(await client.resolution.info())
            for issue in info.issues[::7]:
                checked(await client.resolution.suggestions_for_issue(issue.uuid))
            read.append(info)
        of_older = await read_by_older(older, system)
        told = json.dumps([issue.reference_extra for issue in read[0].issues])

    assert len(keys) > 60
    assert len(read[0].issues) >= len(keys) // 3
    assert {issue.context for issue in read[0].issues} == set(ContextType)
    assert len(read[0].suggestions) == len(read[0].issues) * (len(SuggestionType) + 1)
    assert len(read[1].unsupported) > 30 and len(read[2].unhealthy) > 30
    assert of_older[2] == len(read[2].issues)
    assert '"names": ["a"]' in told


@pytest.fixture
def suggested() -> set[tuple[str, str]]:
    """Every context with what is suggested in it, anywhere in our sources. Texts of modules that report problems are
    taken for suggestions where clients know them as such."""
    pairs = set()
    for path in sources():
        contexts = {mention.context for reports, mention in mentions(path) if reports}
        words = {
            node.value
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Constant) and node.value in {*SuggestionType}
        }
        of_domains = {"addon", "core"} if None in contexts else set[str]()
        pairs |= {(context, word) for context in contexts | of_domains if context is not None for word in words}
    return pairs


async def test_everything_that_is_suggested_can_be_done_or_is_on_record_as_work_of_hands(
    tmp_path: Path, suggested: set[tuple[str, str]]
) -> None:
    references = {"addon": RUNS, "store": "local", "core": "homeassistant", "mount": "films"}
    undone = set()
    async with inhabited_house(tmp_path) as system:
        resolution = system.services.get(RESOLUTION)
        for context, word in suggested:
            system.problems.report(
                Problem("wrong", context, references.get(context), "", (word,), extra={"port": 8099})
            )
            (offer,) = [offer for offer in resolution.offers() if offer.problem.type == "wrong"]
            try:
                await resolution.remedy(offer)
            except Invalid:
                undone.add(word)
            system.problems.clear("wrong", context, references.get(context))

    assert len(suggested) >= 10
    assert undone == BY_HAND


async def test_issue_and_suggestion_are_dismissed_and_done(tmp_path: Path) -> None:
    async with house(tmp_path) as system, calling(system, CORE) as client:
        system.problems.report(Problem("boot_fail", "addon", "local_gone", "It did not start", ("execute_start", "x")))
        system.problems.report(Problem("dust", "system", None, "It is dusty"))
        info = await client.resolution.info()
        reported = [issue for issue in info.issues if issue.type in {"boot_fail", "dust"}]
        fail, dust = sorted(reported, key=lambda issue: str(issue.type))
        start, other = await client.resolution.suggestions_for_issue(fail.uuid)
        await client.resolution.dismiss_suggestion(other.uuid)
        with pytest.raises(refusals.SupervisorBadRequestError, match="It did not start"):
            await client.resolution.apply_suggestion(start.uuid)
        await client.resolution.dismiss_issue(dust.uuid)
        with pytest.raises(refusals.ResolutionIssueNotFoundError):
            await client.resolution.dismiss_issue(dust.uuid)
        with pytest.raises(refusals.ResolutionSuggestionNotFoundError):
            await client.resolution.dismiss_suggestion(UUID("0" * 32))
        after = await client.resolution.info()

    assert [issue.uuid for issue in after.issues if issue.type in {"boot_fail", "dust"}] == [fail.uuid]
    assert [suggestion.uuid for suggestion in after.suggestions if suggestion.reference == "local_gone"] == [start.uuid]


async def test_checks_are_listed_switched_and_run(tmp_path: Path) -> None:
    async with house(tmp_path) as system, calling(system, CORE) as client:
        await client.resolution.check_options(CheckType.NETWORK_INTERFACE_IPV4, CheckOptions(enabled=False))
        listed = {check.slug: check.enabled for check in (await client.resolution.info()).checks}
        await client.resolution.run_check(CheckType.NETWORK_INTERFACE_IPV4)
        await client.resolution.healthcheck()
        with pytest.raises(refusals.ResolutionCheckNotFoundError):
            await client.resolution.run_check(CheckType.FREE_SPACE)

    assert listed == {CheckType.NETWORK_INTERFACE_IPV4: False, CheckType.BACKUPS: True}
