"""No secret that was sent to us or made by us is in the audit log, nor in the step journal that it is a part of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree.testing import Client, running_system
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin, FakeImage
from rooftree_addons.plugin import AddonsPlugin
from rooftree_containers import container_steps as steps
from rooftree_store.plugin import StorePlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.plugins.addons.house import HELLO, SETTINGS, House
from tests.rig.waiting import until

SECRET = "hunter2-7d0c"
SCHEMA = {
    "options": {"password": "", "nested": {"token": ""}, "list": []},
    "schema": {"password": "password", "nested": {"token": "str"}, "list": ["str"]},
    "stdin": True,
}
OPTIONS = {"password": SECRET, "nested": {"token": SECRET}, "list": [SECRET]}


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house with the supervisor's routes too."""
    monkeypatch.setattr(steps, "STEADY_S", 0.0)
    engine = FakeContainerEngine()
    plugins = [FakeEnginePlugin.serving(engine), StorePlugin, AddonsPlugin, SupervisorPlugin]
    async with (
        running_system(tmp_path, plugins=plugins, settings=SETTINGS) as system,
        Client.over_unix(system) as client,
    ):
        yield House(system, client, engine)


async def rows(home: House, *tables: str) -> str:
    """Everything in these tables, as text."""
    found = [
        await home.system.database.read(lambda c, t=table: c.execute(f"SELECT * FROM {t}").fetchall())  # type: ignore[misc]
        for table in tables
    ]
    return repr(found)


async def test_options_of_an_addon_are_nowhere_in_the_log(home: House) -> None:
    await home.run(config=SCHEMA)
    await home.set_options(HELLO, options=OPTIONS)
    assert (await home.post(HELLO, "options/validate", OPTIONS)).status == 200
    assert (await home.post(HELLO, "options", {"options": {"password": [SECRET]}})).status == 400
    assert (await home.client.post(f"/addons/{HELLO}/stdin", body=SECRET.encode())).status == 200
    await home.post(HELLO, "restart")
    token, ingress_token = home.token(), home.installed().ingress_token

    home.engine.fail("start", RuntimeError("no"))
    await home.offer(version="2.0", config=SCHEMA)
    assert (await home.client.post(f"/store/addons/{HELLO}/update")).status == 500
    await home.offer(version="3.0", config=SCHEMA, image=FakeImage())
    assert (await home.client.post(f"/store/addons/{HELLO}/update")).status == 200
    assert home.installed().options["password"] == SECRET

    written = await rows(home, "audit", "job", "step")
    assert "addons.change_version/1" in written
    assert [secret for secret in (SECRET, token, ingress_token) if secret in written] == []
    assert SECRET in await rows(home, "document"), "the test looks at the wrong database"


@pytest.mark.parametrize(
    ("url", "statuses"),
    [
        (f"http://user:{SECRET}@127.0.0.1:1/a", [503, 200, 200]),
        (f"http://{SECRET}@127.0.0.1:1/a", [503, 200, 200]),
        (f"ssh://git:{SECRET}@example.com/a", [400, 400, 400]),
    ],
)
async def test_login_in_a_repositorys_address_is_nowhere_in_the_log(home: House, url: str, statuses: list[int]) -> None:
    answers = [
        await home.client.post("/store/repositories", json={"repository": url}),
        await home.client.post("/supervisor/options", json={"addons_repositories": [url]}),
        await home.client.post("/store/repositories?plan=1", json={"repository": url}),
    ]

    async def ended() -> bool:
        return all(job["done"] for job in (await home.client.get("/jobs/info")).data["jobs"])

    await until(ended, within_s=20, what="the end of the job")
    assert [answer.status for answer in answers] == statuses
    assert [answer.text for answer in answers if SECRET in answer.text] == []
    assert SECRET not in (await home.client.get("/jobs/info")).text
    assert SECRET not in await rows(home, "audit", "job", "step", "document")


async def test_tokens_are_nowhere_in_the_log(home: House) -> None:
    made = (await home.client.post("/kernel/v1/tokens", json={"name": "grafana", "role": "admin"})).data
    async with Client.over_tcp(home.system, made["token"]) as grafana:
        await grafana.post("/supervisor/options", json={"wait_boot": 9})
        await grafana.delete(f"/kernel/v1/tokens/{made['id']}")

    entries = (await home.client.get("/kernel/v1/audit")).data["entries"]
    written = await rows(home, "audit")
    assert made["token"] not in written
    assert [entry["who"] for entry in entries[:2]] == ["token:grafana"] * 2
    assert entries[1]["subject"] == "supervisor.options/options"
