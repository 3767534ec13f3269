"""The contract's own tool, let loose on a system with add-ons in it: what it finds is on record."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from rooftree import Principal, Role
from rooftree.testing import token_for
from tests.contract.inhabited import RUNS, inhabited_house
from tests.contract.test_routes import NOT_YET, begun_domains, shape
from tests.requirements import SHARED, needs_shared

TOOL = SHARED / "tools" / "contract-check"
CORE = Principal("core", "homeassistant", Role.ADMIN)

pytestmark = needs_shared(TOOL)

RUNNING_IS_RIGHT = "the recordings of the existing supervisor have it as we do, its documentation has not"
NO_CORE = "there is no Home Assistant in the system that is asked; the client's type has null for that"
ELSEWHERE = "the system that is asked does not run Home Assistant OS; the recordings have it as we do"
FOR_ADD_ONS = "passwords of services are for the add-ons that name them; the existing supervisor answers Core with 500"
DIFFERENT: Mapping[str, Mapping[str, str]] = {
    "/addons": {"data.addons[].installed: missing": RUNNING_IS_RIGHT},
    f"/addons/{RUNS}/info": {
        "data.schema: list, contract says dict": RUNNING_IS_RIGHT,
        "data.system_managed_config_entry: null": RUNNING_IS_RIGHT,
        "data.usb: bool, contract says list": RUNNING_IS_RIGHT,
    },
    f"/addons/{RUNS}/options/config": {"status 403": "rendered options hold secrets, and are for the add-on itself"},
    "/auth": {"status 403": "logins are for add-ons that declare `auth_api`; the existing supervisor refuses as well"},
    "/auth/list": {"status 503": NO_CORE},
    "/core/info": {
        "data.version: null": NO_CORE,
        "data.version_latest: null": NO_CORE,
        "data.wait_boot: missing": RUNNING_IS_RIGHT,
    },
    "/core/logs": {"status 404": NO_CORE},
    "/core/logs/latest": {"status 404": NO_CORE},
    "/core/stats": {"status 400": NO_CORE},
    "/docker/info": {"data.enable_ipv6: null": RUNNING_IS_RIGHT},
    "/hardware/info": {"data.devices[].subsystem: another word": RUNNING_IS_RIGHT},
    "/info": {"data.homeassistant: null": NO_CORE},
    "/network/info": {"data.host_internet: null": RUNNING_IS_RIGHT},
    "/os/info": {f"data.{key}: null": ELSEWHERE for key in ("version", "version_latest", "board", "boot", "data_disk")},
    "/os/config/swap": {"status 404": ELSEWHERE},
    "/os/boards/green": {"status 400": ELSEWHERE},
    "/os/boards/yellow": {"status 400": ELSEWHERE},
    "/services/mqtt": {"status 403": FOR_ADD_ONS},
    "/services/mysql": {"status 403": FOR_ADD_ONS},
    "/store": {
        "data.addons[].installed: bool, contract says string": RUNNING_IS_RIGHT,
        "data.addons[].state: missing": RUNNING_IS_RIGHT,
        "data.addons[].version: null": RUNNING_IS_RIGHT,
    },
    "/store/addons": {"data: dict, contract says list": RUNNING_IS_RIGHT},
    f"/store/addons/{RUNS}": {"data.homeassistant: null": RUNNING_IS_RIGHT, "data.url: null": RUNNING_IS_RIGHT},
    "/supervisor/info": {"data.addons_repositories[]: dict, contract says string": RUNNING_IS_RIGHT},
}
"""By path, where our answers are not what the contract says, and why."""


async def said_of(folder: Path) -> str:
    """What the tool says of our domains."""
    begun = sorted(await asyncio.to_thread(begun_domains))  # the plugins may have to be imported for that
    domains = [word for domain in begun for word in ("--domain", domain)]
    async with inhabited_house(folder) as system:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(TOOL), "--url", f"http://127.0.0.1:{system.port}", "--verbose",
            "--token", await token_for(system, CORE), "--param", f"addon={RUNS}", "--param", "repository=local",
            *domains, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
    return said.decode()


async def test_contract_finds_missing_and_different_what_is_on_record_and_nothing_else(tmp_path: Path) -> None:
    said = await said_of(tmp_path)

    missing = {shape(found[1], found[2]) for found in re.finditer(r"^missing +(\w+) +(\S+)$", said, re.MULTILINE)}
    assert missing == set(NOT_YET), said
    assert different(said) == {path: set(reasons) for path, reasons in DIFFERENT.items()}
    called = re.search(r"^all +\d+/\d+ +\d+/(\d+) *$", said, re.MULTILINE)
    assert called is not None and int(called[1]) >= 20, said


def different(said: str) -> dict[str, set[str]]:
    """The tool's sentences by path, without the numbers of list elements, the bodies of refusals, and which words are
    none of those that the contract lists: that is as the machine."""
    found = defaultdict(set)
    for line in re.finditer(r"^differs +GET +(\S+): (.*)$", said, re.MULTILINE):
        for sentence in line[2].split("; ") if not line[2].startswith("status") else [line[2].partition(":")[0]]:
            found[line[1]].add(re.sub(r"\[\d+\]", "[]", re.sub(r"'[\w-]+' not in .*", "another word", sentence)))
    return dict(found)
