"""Core in a real container, and who talks of it with us: the official client as Core uses it, ``bashio`` inside an
add-on, and the command ``ha``, each with the requests that it makes.

One daemon for all tests, whose Core is the stand-in; a real one goes through the same in ``tests/real_core``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import aiohasupervisor.exceptions as refusals
import aiohttp
import pytest
import pytest_asyncio
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import (
    CreateSessionOptions,
    DiscoveryConfig,
    HomeAssistantOptions,
    HomeAssistantRebuildOptions,
    HomeAssistantRestartOptions,
    HomeAssistantStopOptions,
    HomeAssistantUpdateOptions,
    LogsOptions,
)
from attrs import frozen

from tests.contract.client_answers import Used, checked, methods_of
from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.bashio import bashio
from tests.rig.core_house import CoreHouse, core_house
from tests.rig.core_image import CoreImages
from tests.rig.engine import Engine
from tests.rig.git_server import GitServer

pytestmark = [pytest.mark.xdist_group("core-clients"), pytest.mark.asyncio(loop_scope="module")]

OLD, NEW = "2026.10.1", "2026.11.0"
BROKER = {"host": "porch", "port": 1883, "username": "house", "password": "secret"}
USER, PASSWORD = "anna", "the right one"
SHOWS_WHO_CALLS = """\
#!/bin/sh
trap 'exit 0' TERM
mkdir -p /www/cgi-bin
printf '#!/bin/sh\necho Content-Type: text/plain; echo; echo $REMOTE_ADDR\n' >/www/cgi-bin/caller
chmod +x /www/cgi-bin/caller
httpd -p 8099 -h /www
while :; do sleep 3600 & wait; done
"""
PORCH: dict[str, Any] = {
    "ingress": True,
    "ingress_port": 8099,
    "hassio_api": True,
    "hassio_role": "admin",
    "homeassistant_api": True,
    "auth_api": True,
    "services": ["mqtt:provide"],
    "discovery": ["mqtt"],
}


@frozen
class Clients:
    """Who calls."""

    house: CoreHouse
    porch: Addon

    @property
    def address(self) -> str:
        """Where Core and the add-ons find us."""
        return str(IPv4Network(self.house.daemon.subnet)[2])

    def as_core(self) -> SupervisorClient:
        """The official client, with the token that Core found in its environment."""
        return SupervisorClient(f"http://{self.address}", self.token_of(self.house.container))

    def token_of(self, container: str) -> str:
        """The token in a container's environment."""
        listed = self.house.engine.run("inspect", "--format", "{{json .Config.Env}}", container)
        variables = dict(variable.partition("=")[::2] for variable in json.loads(listed))
        return variables["SUPERVISOR_TOKEN"]

    def bashio(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """A call by the add-on. Status and data."""
        return bashio(self.porch, method, path, body)

    async def ha(self, method: str, path: str, body: object = None) -> Any:
        """A call as ``ha`` makes it: ``data``, which it can show where it is an object."""
        headers = {"Accept": "application/json", "User-Agent": "go-resty/2.16.5 (https://github.com/go-resty/resty)"}
        headers["Authorization"] = f"Bearer {self.house.daemon.admin_token}"
        async with (
            aiohttp.ClientSession(self.house.daemon.url, headers=headers) as session,
            session.request(method, path, json=body) as response,
        ):
            assert response.content_type == "application/json"
            answer = await response.json()
            assert response.status in {200, 400}, answer
            assert isinstance(answer.get("data", {}), dict)
            return answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(engine: Engine, cores: CoreImages, git_server: GitServer, base_image: str) -> AsyncIterator[Clients]:
    """A house with Core and an add-on that both run."""
    for version in (OLD, NEW):
        cores.publish(version)
    files = {**REPOSITORY, **addon_files("porch", base=base_image, script=SHOWS_WHO_CALLS, **PORCH)}
    repository = git_server.repository("core-clients", files)
    async with core_house(engine, cores, OLD, "probation_minutes = 0") as house:
        await house.daemon.start()
        await house.runs(OLD)
        await house.daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        offered = (await house.daemon.ok("GET", "/store"))["addons"]
        slug = next(addon["slug"] for addon in offered if addon["slug"].endswith("_porch"))
        porch = Addon(house.daemon, engine, slug)
        await porch.install()
        await porch.start()
        yield Clients(house, porch)


async def test_every_call_of_the_client_is_made() -> None:
    offered = {method for component in ("homeassistant", "discovery", "ingress") for method in methods_of(component)}

    assert len(offered) > 14
    assert offered - Used.by(Path(__file__)).methods == set()


# --- the official client ----------------------------------------------------------------------------------------------


async def test_core_reads_and_sets_what_it_is(clients: Clients) -> None:
    async with clients.as_core() as client:
        info = checked(await client.homeassistant.info())
        stats = checked(await client.homeassistant.stats())
        await client.homeassistant.set_options(
            HomeAssistantOptions(
                boot=True, image=None, port=clients.house.core.port, ssl=False, watchdog=False, refresh_token=None,
                audio_input="in", audio_output="out", backups_exclude_database=True, duplicate_log_file=True,
            )
        )  # fmt: skip
        changed = checked(await client.homeassistant.info())
        await client.homeassistant.set_options(
            HomeAssistantOptions(
                watchdog=True, audio_input=None, audio_output=None, backups_exclude_database=False,
                duplicate_log_file=False,
            )
        )  # fmt: skip
        put_back = checked(await client.homeassistant.info())

    assert (info.version, info.version_latest, info.update_available) == (OLD, OLD, False)
    assert (info.image, info.port) == (clients.house.images.name, clients.house.core.port)
    assert 0 < stats.memory_usage < stats.memory_limit
    assert (changed.audio_input, changed.watchdog, changed.duplicate_log_file) == ("in", False, True)
    assert (put_back.audio_input, put_back.watchdog, put_back.duplicate_log_file) == (None, True, False)


async def test_core_reads_its_log(clients: Clients) -> None:
    async with clients.as_core() as client:
        async with aclosing(await client.homeassistant.logs(LogsOptions(lines=100), read_timeout=10)) as lines:
            log = [line async for line in lines]
        async with aclosing(await client.homeassistant.logs(latest=True, read_timeout=10)) as lines:
            latest = [line async for line in lines]

    assert f"Home Assistant {OLD} begins" in log
    assert "Home Assistant is there" in latest


async def test_configuration_is_checked(clients: Clients) -> None:
    wrong = clients.house.config / "configuration.yaml"
    async with clients.as_core() as client:
        await client.homeassistant.check_config()
        wrong.write_text("broken:\n", encoding="utf-8")
        with pytest.raises(refusals.SupervisorBadRequestError, match="Integration not found"):
            await client.homeassistant.check_config()
    wrong.unlink()


async def test_core_is_stopped_started_restarted_and_rebuilt(clients: Clients) -> None:
    house = clients.house
    async with SupervisorClient(house.daemon.url, house.daemon.admin_token) as client:  # Core's own token goes with it
        await client.homeassistant.stop(HomeAssistantStopOptions(force=False))
        stopped = house.engine.run("ps", "--quiet", "--filter", f"name=^/{house.container}$")
        await client.homeassistant.start()
        first = house.engine.run("inspect", "--format", "{{.Id}}", house.container)
        await client.homeassistant.restart(HomeAssistantRestartOptions(safe_mode=True, force=False))
        again = house.engine.run("inspect", "--format", "{{.Id}}", house.container)
        safe = (await core_says(house))["safe_mode"]
        await client.homeassistant.rebuild(HomeAssistantRebuildOptions(safe_mode=False, force=True))
        last = house.engine.run("inspect", "--format", "{{.Id}}", house.container)

    assert stopped == ""
    assert again == first != last
    assert safe is True and (await core_says(house))["safe_mode"] is False


async def test_core_lists_what_add_ons_discovered(clients: Clients) -> None:
    as_addon = SupervisorClient(f"http://{clients.address}", clients.token_of(clients.porch.container))
    with pytest.raises(refusals.SupervisorError):  # from the host its token is refused
        await as_addon.discovery.set(DiscoveryConfig(service="mqtt", config=BROKER))
    await as_addon.close()
    _, told = clients.bashio("POST", "/discovery", {"service": "mqtt", "config": BROKER})
    await clients.house.core.is_told("push", what="discovery", name=told["uuid"], method="POST")
    async with clients.as_core() as client:
        (listed,) = checked(await client.discovery.list())
        message = checked(await client.discovery.get(listed.uuid))
        with pytest.raises(refusals.SupervisorForbiddenError):  # only its add-on takes it back
            await client.discovery.delete(listed.uuid)

    assert (message.addon, message.service, message.config) == (clients.porch.slug, "mqtt", BROKER)
    assert clients.bashio("DELETE", f"/discovery/{told['uuid']}")[0] == 200
    await clients.house.core.is_told("push", what="discovery", name=told["uuid"], method="DELETE")


async def test_core_makes_and_validates_sessions_for_ingress(clients: Clients) -> None:
    async with clients.as_core() as client:
        panels = checked(await client.ingress.panels())
        session = await client.ingress.create_session(CreateSessionOptions(user_id="a" * 32))
        nobody = await client.ingress.create_session()
        await client.ingress.validate_session(session)
        with pytest.raises(refusals.SupervisorError):
            await client.ingress.validate_session("0" * 128)

    assert panels[clients.porch.slug].enable is False
    assert len(session) == len(nobody) == 128 and session != nobody


async def test_page_is_asked_for_from_where_add_ons_expect_it(clients: Clients) -> None:
    async with clients.as_core() as client:
        session = await client.ingress.create_session(CreateSessionOptions(user_id="a" * 32))
    page = (await clients.porch.info())["ingress_entry"].removeprefix("/api/hassio_ingress/")

    async with (
        aiohttp.ClientSession(clients.house.daemon.url, cookies={"ingress_session": session}) as browser,
        browser.get(f"/ingress/{page}/cgi-bin/caller") as answer,
    ):
        caller = (await answer.text()).strip().strip("[]").removeprefix("::ffff:")

    assert (answer.status, caller) == (200, clients.address)


# --- bashio -----------------------------------------------------------------------------------------------------------


async def test_bashio_reads_what_it_asks_of_these_domains(clients: Clients) -> None:
    answers = {
        path: clients.bashio("GET", path)
        for path in (
            "/core/info",
            "/core/stats",
            "/ingress/panels",
            "/services",
            "/network/info",
            "/auth/list",
            "/discovery",
        )
    }

    assert {path: status for path, (status, _) in answers.items() if status != 200} == {"/discovery": 403}  # Core's own
    assert answers["/core/info"][1]["port"] == clients.house.core.port


async def test_bashio_publishes_and_deletes_a_service(clients: Clients) -> None:
    assert clients.bashio("POST", "/services/mqtt", BROKER) == (200, {})
    status, broker = clients.bashio("GET", "/services/mqtt")
    assert clients.bashio("DELETE", "/services/mqtt") == (200, {})

    assert (status, broker["host"], broker["port"], broker["addon"]) == (200, "porch", 1883, clients.porch.slug)
    assert clients.bashio("GET", "/services/mqtt")[0] == 400


async def test_bashio_tells_right_passwords_from_wrong_ones(clients: Clients) -> None:
    right = clients.bashio("POST", "/auth", {"username": USER, "password": PASSWORD})
    wrong = clients.bashio("POST", "/auth", {"username": USER, "password": "guessed"})

    assert (right[0], wrong[0]) == (200, 401)


async def test_bashio_checks_and_restarts_core(clients: Clients) -> None:
    assert clients.bashio("POST", "/core/check") == (200, {})
    assert clients.bashio("POST", "/core/options", {"watchdog": True}) == (200, {})
    assert clients.bashio("POST", "/core/restart") == (200, {})

    assert (await core_says(clients.house))["version"] == OLD


# --- ha ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/core/info", "/core/stats", "/homeassistant/info", "/auth/list", "/network/info", "/resolution/info", "/mounts"],
)
async def test_ha_shows(clients: Clients, path: str) -> None:
    answer = await clients.ha("GET", path)

    assert answer["result"] == "ok" and answer["data"]


async def test_ha_sets_restarts_and_checks(clients: Clients) -> None:
    assert (await clients.ha("POST", "/homeassistant/options", {"watchdog": True}))["result"] == "ok"
    assert (await clients.ha("POST", "/core/check"))["result"] == "ok"
    assert (await clients.ha("POST", "/homeassistant/restart"))["result"] == "ok"
    assert (await clients.ha("DELETE", "/auth/cache"))["result"] == "ok"
    unknown = await clients.ha("POST", "/core/options", {"wait_boot": 600})

    assert unknown["result"] == "error" and "wait_boot" in unknown["message"]


# --- and an update, the last thing that happens here ------------------------------------------------------------------


async def test_client_updates_core(clients: Clients) -> None:
    house = clients.house
    house.feed.core = NEW
    await house.daemon.ok("POST", "/reload_updates")
    async with SupervisorClient(house.daemon.url, house.daemon.admin_token) as client:
        before = checked(await client.homeassistant.info())
        await client.homeassistant.update(HomeAssistantUpdateOptions(version=NEW, backup=False))
        after = checked(await client.homeassistant.info())
        with pytest.raises(refusals.SupervisorBadRequestError, match=NEW):
            await client.homeassistant.update(HomeAssistantUpdateOptions(version=NEW))

    assert (before.version, before.version_latest, before.update_available) == (OLD, NEW, True)
    assert (after.version, after.update_available) == (NEW, False)
    assert (await core_says(house))["version"] == NEW


async def core_says(house: CoreHouse) -> Any:
    """Core's own configuration, asked on its socket."""
    connector = aiohttp.UnixConnector(str(house.daemon.data_dir / "run" / "core" / "core.sock"))
    async with (
        aiohttp.ClientSession("http://localhost", connector=connector) as session,
        session.get("/api/config") as response,
    ):
        return await response.json()
