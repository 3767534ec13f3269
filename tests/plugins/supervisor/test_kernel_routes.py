"""``/kernel/v1``: plugins, problems and tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rooftree import Plugin, Principal, Problem, Role
from rooftree.process.system import System
from rooftree.testing import Client, running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin

TOKENS = "/kernel/v1/tokens"


class Broken(Plugin):
    """Does not start."""

    name = "broken"

    async def setup(self, kernel: object) -> None:
        """Fail."""
        raise RuntimeError("the antenna is off")


async def test_plugins_are_listed_with_their_state_and_reason(tmp_path: Path) -> None:
    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin, Broken], allow={"plugin_failed"}) as system,
        Client.over_unix(system) as client,
    ):
        plugins = (await client.get("/kernel/v1/plugins")).data["plugins"]

    assert [(plugin["name"], plugin["state"], plugin["reason"]) for plugin in plugins] == [
        (
            "broken",
            "failed",
            "RuntimeError: the antenna is off (tests/plugins/supervisor/test_kernel_routes.py:25, setup)",
        ),
        ("supervisor", "ok", None),
    ]
    assert set(plugins[1]) == {
        "name", "distribution", "version", "state", "reason", "provides", "requires", "optional"
    }  # fmt: skip
    assert plugins[1]["provides"] == [key.name for key in SupervisorPlugin.provides]


async def test_what_an_uninstalled_plugin_left_is_listed_and_can_be_removed(tmp_path: Path) -> None:
    class Gone(Plugin):
        name = "gone"

    async with running_system(tmp_path, plugins=[Gone]):
        pass

    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin]) as system,
        Client.over_unix(system) as client,
    ):
        before = (await client.get("/kernel/v1/plugins")).data["left_behind"]
        purged = (await client.delete("/kernel/v1/plugins/gone")).data
        after = (await client.get("/kernel/v1/plugins")).data["left_behind"]
        again = await client.delete("/kernel/v1/plugins/gone")
        installed = await client.delete("/kernel/v1/plugins/supervisor")

    assert before == [purged]
    assert (purged["name"], purged["collections"], purged["documents"], purged["tokens"]) == ("gone", [], 0, 0)
    assert after == []
    assert (again.status, installed.status) == (404, 409)


async def test_new_token_is_shown_once_and_works_until_it_is_revoked(system: System, client: Client) -> None:
    made = (await client.post(TOKENS, json={"name": "grafana", "role": "manager"})).data

    listed = {row["name"]: row for row in (await client.get(TOKENS)).data["tokens"]}
    async with Client.over_tcp(system, made["token"]) as program:
        while_valid = (await program.get("/jobs/info")).status
        revoked = await client.delete(f"{TOKENS}/{made['id']}")
        when_revoked = (await program.get("/jobs/info")).status

    assert (made["name"], made["role"], len(made["token"])) == ("grafana", "manager", 112)
    created = listed["grafana"].pop("created")
    assert created.endswith("+00:00")
    assert listed["grafana"] == {"id": made["id"], "kind": "token", "name": "grafana", "role": "manager"}
    assert (while_valid, revoked.data, when_revoked) == (200, {}, 403)
    assert [row["name"] for row in (await client.get(TOKENS)).data["tokens"]] == ["admin"]


async def test_token_has_the_least_role_unless_one_is_given(client: Client) -> None:
    assert (await client.post(TOKENS, json={"name": "grafana"})).data["role"] == "default"


@pytest.mark.parametrize("name", ["grafana", "admin"])
async def test_name_that_is_taken_is_a_conflict(client: Client, name: str) -> None:
    await client.post(TOKENS, json={"name": "grafana"})

    answer = await client.post(TOKENS, json={"name": name})

    assert answer.status == 409
    assert f"There is a token called {name} already" in answer.message


async def test_of_two_who_want_the_same_name_at_once_one_gets_it(client: Client) -> None:
    answers = await asyncio.gather(*(client.post(TOKENS, json={"name": "grafana"}) for _ in range(5)))

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "name: is required"),
        ({"name": ""}, "name: must be 1 to 64 letters"),
        ({"name": "with space"}, "name: must be 1 to 64 letters"),
        ({"name": "x" * 65}, "name: must be 1 to 64 letters"),
        ({"name": "line\n"}, "name: must be 1 to 64 letters"),
        ({"name": 1}, "name: must be a string"),
        ({"name": "grafana", "role": "king"}, "role: must be one of 'default'"),
        ({"name": "grafana", "rule": "admin"}, "rule: is not known here"),
    ],
)
async def test_token_that_makes_no_sense_is_refused(client: Client, body: dict[str, object], sentence: str) -> None:
    answer = await client.post(TOKENS, json=body)

    assert (answer.status, answer.message[: len(sentence)]) == (400, sentence)
    assert len((await client.get(TOKENS)).data["tokens"]) == 1


@pytest.mark.parametrize("token_id", ["0" * 32, "admin", "0" * 33])
async def test_token_that_does_not_exist_is_not_found(client: Client, token_id: str) -> None:
    answer = await client.delete(f"{TOKENS}/{token_id}")

    assert answer.status == 404
    assert answer.message


async def test_administrators_token_cannot_be_revoked_only_replaced(system: System, client: Client) -> None:
    (administrator,) = (await client.get(TOKENS)).data["tokens"]

    answer = await client.delete(f"{TOKENS}/{administrator['id']}")

    assert answer.status == 409
    assert "delete the file admin-token in the data folder and restart Rooftree" in answer.message
    text = (system.data.path / "admin-token").read_text().strip()
    async with Client.over_tcp(system, text) as program:
        assert (await program.get(TOKENS)).status == 200


async def test_what_the_refusal_says_replaces_the_administrators_token(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[SupervisorPlugin]) as system:
        path = system.data.path / "admin-token"
        old = path.read_text().strip()
    path.unlink()

    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin]) as system,
        Client.over_tcp(system) as client,
    ):
        new = path.read_text().strip()
        statuses = [(await client.get(TOKENS, token=text)).status for text in (old, new)]

    assert statuses == [403, 200]


async def test_tokens_of_other_kinds_are_listed_with_their_kind(system: System, client: Client) -> None:
    await token_for(system, Principal("addon", "local_hello", Role.DEFAULT))

    rows = (await client.get(TOKENS)).data["tokens"]

    assert ("addon", "local_hello") in {(row["kind"], row["name"]) for row in rows}
    assert not any("token" in row for row in rows)


async def test_problems_are_listed_until_they_are_cleared(client: Client, system: System) -> None:
    system.problems.report(Problem("free_space", message="The disk is nearly full", suggestions=("clear_backups",)))

    (listed,) = (await client.get("/kernel/v1/problems")).data["problems"]
    system.problems.clear("free_space")

    assert (listed["type"], listed["context"], listed["message"]) == ("free_space", "system", "The disk is nearly full")
    assert listed["suggestions"] == ["clear_backups"]
    assert (await client.get("/kernel/v1/problems")).data == {"problems": []}


async def test_a_disabled_plugin_says_so_on_its_routes(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[SupervisorPlugin]):
        pass

    settings = {"plugins.disabled": ["supervisor"]}
    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin], settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        answer = await client.get("/supervisor/ping")

    assert answer.status == 503
    assert "supervisor is disabled" in answer.message


async def test_add_on_makes_no_token_that_would_outlive_it(tmp_path: Path) -> None:
    kind = "addon"
    async with running_system(tmp_path, plugins=[SupervisorPlugin]) as system:
        token = await token_for(system, Principal(kind, "local_climber", Role.ADMIN))
        async with Client.over_tcp(system, token) as addon:
            listed = await addon.get(TOKENS)
            made = await addon.post(TOKENS, json={"name": "heir", "role": "admin"})
            after = await addon.get(TOKENS)

    assert listed.status == 200
    assert made.status == 403
    assert "ends with it" in made.message
    assert after.data == listed.data
