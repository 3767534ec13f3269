"""Discovery as Core has it: a process that is told, and asks back."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from rooftree import Principal, Role
from rooftree.access import digest
from rooftree.interfaces.callers import CORE
from rooftree.testing import Client
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin
from rooftree_addons.plugin import AddonsPlugin
from rooftree_discovery.plugin import DiscoveryPlugin
from rooftree_store.plugin import StorePlugin
from tests.plugins.addons.house import HELLO, SETTINGS, House, done
from tests.plugins.homeassistant.linked import linked
from tests.rig.core_process import core_process
from tests.rig.service_process import free_port

PLUGINS = [StorePlugin, AddonsPlugin, DiscoveryPlugin]


async def test_core_hears_reads_and_forgets_what_an_add_on_announces(tmp_path: Path) -> None:
    port, token = free_port(), secrets.token_hex(56)
    engine = FakeContainerEngine()
    plugins = [FakeEnginePlugin.serving(engine), *PLUGINS]
    async with (
        asyncio.timeout(60),
        core_process(tmp_path / "core", supervisor=f"127.0.0.1:{port}", token=token) as core,
        linked(tmp_path, plugins=plugins, settings={**SETTINGS, "kernel.port": port}) as link,
        Client.over_unix(link.system) as client,
    ):
        tokens = link.system.tokens
        tokens.register_kind(CORE, lambda name: Principal("core", name, Role.ADMIN))
        await link.system.state.commit(tokens.restored(digest(token), "core", "homeassistant"))
        home = House(link.system, client, engine)
        await home.run(config={"discovery": ["mqtt"]})
        body = {"service": "mqtt", "config": {"host": "local-hello", "password": "hunter2"}}
        uuid = (await client.post("/discovery", json=body, token=home.token())).data["uuid"]

        link.over_socket(core)
        read = await core.is_told("called_back", path=f"/discovery/{uuid}")
        info = await core.is_told("called_back", path=f"/addons/{HELLO}/info")
        done(await home.post(HELLO, "uninstall"))
        gone = await core.is_told("called_back", path=f"/discovery/{uuid}", status=404)
        pushes = [(told["method"], told["body"]) for told in await core.told("push", name=uuid)]

    told = {"addon": HELLO, "service": "mqtt", "uuid": uuid}
    assert (read["status"], read["answer"]["data"]) == (200, {**told, "config": body["config"]})
    assert info["status"] == 200
    assert gone["answer"]["message"] == f"There is no discovery message {uuid}"
    assert pushes == [("POST", told), ("DELETE", told)]
