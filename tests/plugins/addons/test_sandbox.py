"""How far add-ons are kept from the kernel: which declarations lift the profile, who may, and how it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import InstalledAddon
from rooftree_addons.installed import Seccomp
from rooftree_addons.sandbox import Sandbox, SandboxRule, SandboxSettings, sandbox
from tests.plugins.addons.house import HELLO, House, addon_config, done, house, refusal

USUAL = SandboxSettings()


def held(settings: SandboxSettings = USUAL, choices: dict[str, Any] | None = None, **config: Any) -> Sandbox:
    """What holds for an add-on with that configuration."""
    fresh = InstalledAddon.fresh(HELLO, "x:1", addon_config("hello", **config), set())
    return sandbox(evolve(fresh, **(choices or {})), settings)


def test_add_on_that_declares_nothing_is_confined_and_limited() -> None:
    assert held() == Sandbox(Seccomp.DEFAULT, 4096, SandboxRule.USUAL)
    assert held().security_options == ()


@pytest.mark.parametrize(
    "config",
    [
        {"privileged": ["NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYS_TIME", "SYS_NICE", "DAC_READ_SEARCH"]},
        {"apparmor": False},
        {"host_network": True, "host_ipc": True, "host_uts": True, "host_dbus": True},
        {"docker_api": True, "full_access": True, "host_pid": True},
        {"usb": True, "uart": True, "devices": ["/dev/null"], "realtime": True},
    ],
)
def test_what_the_profile_allows_by_capability_or_protection_holds_back_lifts_nothing(config: dict[str, Any]) -> None:
    assert held(**config).rule is SandboxRule.USUAL


@pytest.mark.parametrize(
    ("config", "protected", "because"),
    [
        ({"privileged": ["SYS_ADMIN", "NET_ADMIN"]}, True, "privileged: SYS_ADMIN"),
        ({"privileged": ["SYS_MODULE"]}, True, "privileged: SYS_MODULE"),
        ({"privileged": ["SYS_RAWIO"]}, True, "privileged: SYS_RAWIO"),
        ({"privileged": ["BPF"]}, True, "privileged: BPF"),
        ({"privileged": ["PERFMON"]}, True, "privileged: PERFMON"),
        ({"privileged": ["CHECKPOINT_RESTORE"]}, True, "privileged: CHECKPOINT_RESTORE"),
        ({"kernel_modules": True}, True, "kernel_modules"),
        ({"docker_api": True}, False, "docker_api"),
        ({"full_access": True}, False, "full_access"),
        ({"host_pid": True}, False, "host_pid"),
    ],
)
def test_declaration_that_needs_more_lifts_the_profile_and_not_the_limit(
    config: dict[str, Any], protected: bool, because: str
) -> None:
    found = held(choices={"protected": protected}, **config)

    assert found == Sandbox(Seccomp.UNCONFINED, 4096, SandboxRule.DECLARED, (because,))
    assert found.security_options == ("seccomp=unconfined",)


@pytest.mark.parametrize(
    ("settings", "choice", "config", "limit"),
    [
        (USUAL, None, {}, 4096),
        (SandboxSettings(pids_limit=100), None, {}, 100),
        (SandboxSettings(pids_limit=0), None, {}, None),
        (USUAL, 50, {}, 50),
        (USUAL, 0, {}, None),
        (SandboxSettings(pids_limit=0), 50, {}, 50),
        (USUAL, None, {"ulimits": {"nproc": 10_000}}, 10_000),
        (USUAL, None, {"ulimits": {"nproc": {"soft": 1, "hard": 9_000}}}, 9_000),
        (USUAL, None, {"ulimits": {"nproc": 10}}, 4096),
        (USUAL, None, {"ulimits": {"nproc": -1}}, 4096),
        (USUAL, None, {"ulimits": {"nproc": 2**60}}, 4_194_304),
    ],
)
def test_limit_is_the_users_or_the_operators_or_what_is_declared(
    settings: SandboxSettings, choice: int | None, config: dict[str, Any], limit: int | None
) -> None:
    assert held(settings, {"pids_limit": choice}, **config).pids_limit == limit


async def test_user_lifts_the_profile_which_is_shown_and_rated(home: House) -> None:
    await home.run()
    before = await home.info(HELLO)

    done(await home.post(HELLO, "security", {"seccomp": "unconfined", "pids_limit": 0}))
    done(await home.post(HELLO, "restart"))
    after, spec = await home.info(HELLO), home.engine.spec(f"app_{HELLO}")
    done(await home.post(HELLO, "security", {"seccomp": None, "pids_limit": None}))
    again = await home.info(HELLO)

    assert (before["seccomp"], before["pids_limit"], before["relaxations"]) == ("default", 4096, [])
    assert (after["seccomp"], after["pids_limit"], after["rating"]) == ("unconfined", None, before["rating"] - 2)
    assert after["relaxations"] == ["its system calls are not confined", "the number of its processes is not limited"]
    assert (spec.security_options, spec.pids_limit) == (("seccomp=unconfined",), None)
    assert again == before | {"state": "started", "ip_address": again["ip_address"]}


async def test_protection_that_is_off_lowers_the_rating(home: House) -> None:
    await home.install()
    before = (await home.info(HELLO))["rating"]

    done(await home.post(HELLO, "security", {"protected": False}))
    info = await home.info(HELLO)

    assert info["rating"] == before - 1
    assert info["relaxations"] == ["its protection is off"]


async def test_user_confines_what_its_author_would_not(home: House) -> None:
    await home.run(config={"privileged": ["SYS_ADMIN"]})
    before = await home.info(HELLO)

    done(await home.post(HELLO, "security", {"seccomp": "default"}))
    done(await home.post(HELLO, "restart"))

    info = await home.info(HELLO)
    assert (before["seccomp"], before["seccomp_lifted_by"]) == ("unconfined", ["privileged: SYS_ADMIN"])
    assert (info["seccomp"], info["relaxations"]) == ("default", [])
    assert home.engine.spec(f"app_{HELLO}").security_options == ()


@pytest.mark.parametrize("role", ["default", "manager", "admin"])
async def test_add_on_does_not_lift_its_own_profile_whatever_its_role(home: House, role: str) -> None:
    await home.run(config={"hassio_api": True, "hassio_role": role})

    answers = [
        await home.client.post(f"/addons/{who}/security", json={"seccomp": "unconfined"}, token=home.token())
        for who in ("self", HELLO)
    ]

    assert [answer.status for answer in answers] == [403, 403]
    assert home.installed().seccomp is None


@pytest.mark.parametrize(
    "body", [{"seccomp": "off"}, {"pids_limit": -1}, {"pids_limit": True}, {"pids_limit": 2**40}, {"protected": None}]
)
async def test_wrong_words_are_refused_by_field(home: House, body: dict[str, Any]) -> None:
    await home.install()

    assert next(iter(body)) in refusal(await home.post(HELLO, "security", body), 400)


async def test_operator_decides_for_all(tmp_path: Path, engine: FakeContainerEngine) -> None:
    settings = {"plugins.addons.seccomp": False, "plugins.addons.pids_limit": 7}
    async with house(tmp_path, engine, settings) as home:
        await home.run()
        info = await home.info(HELLO)

    spec = engine.spec(f"app_{HELLO}")
    assert (spec.security_options, spec.pids_limit) == (("seccomp=unconfined",), 7)
    assert (info["seccomp"], info["relaxations"]) == ("unconfined", [])


async def test_running_add_on_is_known_to_be_due_for_a_restart_until_it_has_one(home: House) -> None:
    await home.run()

    done(await home.post(HELLO, "security", {"protected": True}))  # as it is
    unchanged = home.problem("restart_due", HELLO)
    done(await home.post(HELLO, "security", {"protected": False, "pids_limit": 0}))
    changed = home.problem("restart_due", HELLO)
    done(await home.post(HELLO, "restart"))

    assert unchanged is None
    assert changed is not None
    assert changed.message == (
        "How far it is kept from the machine was changed (pids_limit, protected). That holds from the next start of "
        "add-on local_hello: restart it"
    )
    assert changed.suggestions == ("execute_restart",)
    assert home.problem("restart_due", HELLO) is None


async def test_stopped_add_on_is_due_for_nothing(home: House) -> None:
    await home.run()
    done(await home.post(HELLO, "security", {"protected": False}))

    done(await home.post(HELLO, "stop"))
    stopped = home.problem("restart_due", HELLO)
    done(await home.post(HELLO, "security", {"protected": True}))

    assert stopped is None
    assert home.problem("restart_due", HELLO) is None


async def test_who_writes_all_configurations_is_due_for_a_restart_when_there_is_a_new_one(home: House) -> None:
    writer = await home.run("writer", config={"map": ["all_addon_configs:rw"]})

    await home.run(config={"map": ["addon_config:rw"]})

    problem = home.problem("restart_due", writer)
    assert problem is not None
    assert "that of add-on local_hello is new" in problem.message
    assert home.problem("restart_due", HELLO) is None
