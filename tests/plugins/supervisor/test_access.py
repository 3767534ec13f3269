"""Who may call which of this domain's routes."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from rooftree import Principal, Role
from rooftree.interfaces import hooks
from rooftree.system import System
from rooftree.testing import Client, running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin

JOB = "0" * 32
MATRIX = Path(__file__).resolve().parents[4] / "shared" / "reference" / "access-matrix.tsv"

CALLERS: Mapping[str, Principal] = {
    "addon-no-api": Principal("addon", "local_none"),
    "default": Principal("addon", "local_default", Role.DEFAULT),
    "homeassistant": Principal("addon", "local_homeassistant", Role.HOMEASSISTANT),
    "backup": Principal("addon", "local_backup", Role.BACKUP),
    "manager": Principal("addon", "local_manager", Role.MANAGER),
    "admin": Principal("addon", "local_admin", Role.ADMIN),
    "observer": Principal("observer", "observer"),
    "cli": Principal("cli", "cli", Role.ADMIN),
    "core": Principal("core", "homeassistant", Role.ADMIN),
}

EVERYBODY = frozenset({"anonymous", "unknown", *CALLERS})
MANAGERS = frozenset({"manager", "admin", "cli", "core"})
ADMINS = frozenset({"admin", "cli", "core"})
ROLES = MANAGERS | {"default", "homeassistant", "backup"}

ALLOWED: Mapping[tuple[str, str], frozenset[str]] = {
    ("GET", "/supervisor/ping"): EVERYBODY,
    ("GET", "/supervisor/info"): ROLES | {"observer"},
    ("POST", "/supervisor/options"): MANAGERS,
    ("GET", "/supervisor/logs"): MANAGERS,
    ("GET", "/supervisor/logs/follow"): MANAGERS,
    ("GET", "/supervisor/logs/latest"): MANAGERS,
    ("GET", "/info"): ROLES | {"addon-no-api"},
    ("GET", "/available_updates"): MANAGERS,
    ("GET", "/jobs/info"): ROLES | {"observer"},
    ("GET", "/jobs/{job_id}"): MANAGERS,
    ("DELETE", "/jobs/{job_id}"): MANAGERS,
    ("POST", "/jobs/options"): MANAGERS,
    ("POST", "/jobs/reset"): MANAGERS,
    ("POST", "/kernel/v1/jobs/{job_id}/cancel"): MANAGERS,
    ("GET", "/kernel/v1/audit"): ADMINS,
    ("GET", "/kernel/v1/events"): MANAGERS,
    ("GET", "/kernel/v1/plugins"): MANAGERS,
    ("POST", "/kernel/v1/plugins/{plugin}/enable"): ADMINS,
    ("POST", "/kernel/v1/plugins/{plugin}/disable"): ADMINS,
    ("POST", "/kernel/v1/plugins/{plugin}/restart"): ADMINS,
    ("DELETE", "/kernel/v1/plugins/{plugin}"): ADMINS,
    ("GET", "/kernel/v1/problems"): MANAGERS,
    ("GET", "/kernel/v1/tokens"): ADMINS,
    ("POST", "/kernel/v1/tokens"): ADMINS,
    ("DELETE", "/kernel/v1/tokens/{token_id}"): ADMINS,
}


@pytest.fixture
async def tokens(system: System) -> Mapping[str, str]:
    """A token of each caller that has one."""
    return {name: await token_for(system, principal) for name, principal in CALLERS.items()} | {"unknown": "f" * 112}


@pytest.fixture
async def stranger(system: System) -> AsyncIterator[Client]:
    """A client without a token."""
    async with Client.over_tcp(system) as client:
        yield client


async def verdict(client: Client, method: str, path: str, token: str | None) -> str:
    """``ok``, or the status of the refusal; a status that comes from behind the gate is ``ok``."""
    path = path.replace("{job_id}", JOB).replace("{token_id}", JOB).replace("{plugin}", "nobody")
    async with client.streaming(method, path, token=token, json={} if method == "POST" else None) as answer:
        return str(answer.status) if answer.status in {401, 403} else "ok"


def test_every_route_is_in_the_table() -> None:
    assert {(route.method, route.path) for route in SupervisorPlugin().routes()} == set(ALLOWED)


@pytest.mark.parametrize(("method", "path"), ALLOWED)
async def test_only_those_who_may_call_get_in(
    stranger: Client, tokens: Mapping[str, str], method: str, path: str
) -> None:
    found = {caller: await verdict(stranger, method, path, tokens.get(caller)) for caller in EVERYBODY}

    allowed = ALLOWED[method, path]
    refusal = {"anonymous": "401"}
    assert found == {caller: "ok" if caller in allowed else refusal.get(caller, "403") for caller in EVERYBODY}


@pytest.mark.skipif(not MATRIX.exists(), reason="the reference is not beside this checkout")
def test_table_says_what_the_reference_says() -> None:
    with MATRIX.open(newline="") as file:
        rows = {(row["method"], row["path"]): row for row in csv.DictReader(file, delimiter="\t")}

    ours = {key: allowed for key, allowed in ALLOWED.items() if not key[1].startswith("/kernel/")}
    expected = {
        key: frozenset(caller for caller in EVERYBODY if rows[key][caller] in {"ok", "open"})
        for key in ours
    }  # fmt: skip

    assert ours == expected


async def test_a_disabled_plugin_says_so_on_its_routes(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[SupervisorPlugin], specifications=[hooks]):
        pass

    settings = {"plugins.disabled": ["supervisor"]}
    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin], specifications=[hooks], settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        answer = await client.get("/supervisor/ping")

    assert answer.status == 503
    assert "supervisor is disabled" in answer.message
