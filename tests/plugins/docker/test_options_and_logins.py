"""What is set of Docker through the API: logins at registries, how the add-on network is made; no engine is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from rooftree import Secret
from rooftree.interfaces.containers import RegistryRateLimited
from rooftree.model.secret import CREDENTIAL
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from rooftree_docker.image_reference import DOCKER_HUB, AuthInfo
from rooftree_docker.options import DOCKER, Docker
from rooftree_docker.plugin import DockerPlugin
from rooftree_docker.registry_logins import StoredLogin

LOGIN = {"username": "me", "password": "s3cret"}
HOST = "registry.example.com:5000"


def living(folder: Path) -> AbstractAsyncContextManager[System]:
    """A system with the docker plugin, and no engine."""
    settings = {"plugins.docker.socket": f"unix://{folder}/nothing.sock"}
    return running_system(folder, plugins=[DockerPlugin], settings=settings)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The system."""
    async with living(tmp_path) as system:
        yield system


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    """Somebody who may do everything."""
    async with Client.over_unix(system) as client:
        yield client


@pytest.fixture
def docker(system: System) -> Docker:
    """The service behind the routes."""
    return system.services.get(DOCKER)


async def test_login_is_stored_used_and_never_shown(client: Client, docker: Docker, tmp_path: Path) -> None:
    stored = await client.post("/docker/registries", json={HOST: LOGIN, "ghcr.io": LOGIN})
    listed = await client.get("/docker/registries")
    again = await client.post("/docker/registries", json={HOST: LOGIN | {"username": "you"}})
    changed = await client.get("/docker/registries")

    assert stored.data == again.data == {}
    assert listed.data == {"registries": {HOST: {"username": "me"}, "ghcr.io": {"username": "me"}}}
    assert changed.data["registries"][HOST] == {"username": "you"}
    assert docker.logins.login_for("ghcr.io") == AuthInfo("me", "s3cret")
    assert docker.logins.login_for("example.org") is None


@pytest.mark.parametrize("name", ["docker.io", "hub.docker.com"])
async def test_docker_hub_has_two_names(client: Client, docker: Docker, name: str) -> None:
    await client.post("/docker/registries", json={name: LOGIN})

    assert docker.logins.login_for(DOCKER_HUB) == AuthInfo("me", "s3cret")
    assert docker.logins.login_for("ghcr.io") is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "at least one login"),
        ({"Registry.Example.com": LOGIN}, "lower case"),
        ({"nohost": LOGIN}, "host name of a registry"),
        ({"a.example:99999": LOGIN}, "port from 1 to 65535"),
        ({"a.example:0": LOGIN}, "port from 1 to 65535"),
        ({"../x.y": LOGIN}, "host name of a registry"),
        ({HOST: {"username": "me"}}, "password"),
        ({HOST: LOGIN | {"password": ""}}, "must not be empty"),
        ({HOST: LOGIN | {"password": 5}}, "password"),
        ({HOST: LOGIN | {"email": "me@example.com"}}, "email"),
        ({"ghcr.io": LOGIN, "nohost": LOGIN}, "nohost"),
    ],
)
async def test_login_that_can_be_none_is_refused_whole(client: Client, body: object, says: str) -> None:
    refused = await client.post("/docker/registries", json=body)

    assert (refused.status, says in refused.message, "s3cret" in refused.text) == (400, True, False)
    assert (await client.get("/docker/registries")).data == {"registries": {}}


async def test_logins_go_into_a_backup_at_once_as_plain_data(client: Client, docker: Docker) -> None:
    await client.post("/docker/registries", json={HOST: LOGIN})

    assert orjson.loads(orjson.dumps(docker.logins.export()))["registries"][HOST]["username"] == "me"


async def test_login_is_forgotten_once(client: Client, docker: Docker) -> None:
    await client.post("/docker/registries", json={HOST: LOGIN})

    gone = await client.request("DELETE", f"/docker/registries/{quote(HOST, safe='')}")  # with a port: %3A
    again = await client.request("DELETE", f"/docker/registries/{HOST}")

    assert (gone.status, again.status) == (200, 404)
    assert docker.logins.login_for(HOST) is None


async def test_password_is_in_no_log_event_audit_or_answer(
    client: Client, system: System, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await client.post("/docker/registries", json={HOST: LOGIN})
    await client.request("DELETE", f"/docker/registries/{HOST}")

    audit = await system.database.read(lambda c: c.execute("SELECT * FROM audit").fetchall())
    assert "s3cret" not in f"{audit} {capsys.readouterr()} {caplog.text}"


async def test_password_whose_key_is_gone_is_reported_until_it_is_stored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / CREDENTIAL).write_bytes(b"k" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    async with living(tmp_path) as system, Client.over_unix(system) as client:
        await client.post("/docker/registries", json={HOST: LOGIN})
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")

    async with living(tmp_path) as system, Client.over_unix(system) as client:
        docker = system.services.get(DOCKER)
        locked = [problem.message for problem in system.problems if problem.type == "registry_login_locked"]
        without = docker.logins.login_for(HOST)
        await client.post("/docker/registries", json={HOST: LOGIN})
        after = [problem for problem in system.problems if problem.type == "registry_login_locked"]

        assert len(locked) == 1 and HOST in locked[0]
        assert (without, after) == (None, [])
        assert docker.logins.login_for(HOST) == AuthInfo("me", "s3cret")


async def test_password_whose_key_is_gone_is_no_problem_any_more_once_it_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / CREDENTIAL).write_bytes(b"k" * 64)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    async with living(tmp_path) as system, Client.over_unix(system) as client:
        await client.post("/docker/registries", json={HOST: LOGIN})
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")

    async with living(tmp_path) as system, Client.over_unix(system) as client:
        locked = [problem.type for problem in system.problems]
        await client.request("DELETE", f"/docker/registries/{HOST}")

        assert "registry_login_locked" in locked
        assert "registry_login_locked" not in [problem.type for problem in system.problems]


async def test_network_options_are_kept_and_go_back_to_the_usual(client: Client, docker: Docker) -> None:
    await client.post("/docker/options", json={"enable_ipv6": True, "mtu": 1400})
    both = docker.options
    await client.post("/docker/options", json={"mtu": None})
    one = docker.options
    await client.post("/docker/options", json={"enable_ipv6": None})

    assert (both.enable_ipv6, both.mtu) == (True, 1400)
    assert (one.enable_ipv6, one.mtu) == (True, None)
    assert (docker.options.enable_ipv6, docker.options.mtu) == (None, None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "Send enable_ipv6, mtu, or both"),
        ({"enable_ipv6": "yes"}, "enable_ipv6"),
        ({"mtu": 67}, "mtu: must be from 68 to 65535"),
        ({"mtu": 65536}, "from 68 to 65535"),
        ({"mtu": 1000, "enable_ipv6": True}, "must be 1280 or more with IPv6"),
        ({"ipv6": True}, "ipv6"),
    ],
)
async def test_network_option_that_can_be_none_is_refused(
    client: Client, docker: Docker, body: object, says: str
) -> None:
    refused = await client.post("/docker/options", json=body)

    assert (refused.status, says in refused.message) == (400, True), refused.text
    assert docker.options.mtu is None


@pytest.mark.parametrize(("driver", "status"), [("overlayfs", 404), ("overlay2", 404), ("btrfs", 400), (None, 400)])
async def test_storage_driver_is_the_operators(client: Client, driver: str | None, status: int) -> None:
    answer = await client.post("/docker/migrate-storage-driver", json={"storage_driver": driver})

    assert answer.status == status
    assert "storage" in answer.message


async def test_docker_hub_that_is_tired_of_us_is_a_problem_until_it_gives_again(system: System) -> None:
    plugin = system.plugins._lives["docker"].plugin
    assert isinstance(plugin, DockerPlugin)

    def limits() -> list[tuple[str, ...]]:
        return [problem.suggestions for problem in system.problems if problem.type == "docker_ratelimit"]

    plugin.report_pull("ghcr.io", RegistryRateLimited("Too often"))
    of_others = limits()
    plugin.report_pull(DOCKER_HUB, RegistryRateLimited("Too often"))
    refused = limits()
    plugin.report_pull(DOCKER_HUB, None)

    assert (of_others, refused, limits()) == ([], [("registry_login",)], [])


def test_stored_login_shows_no_password() -> None:
    assert "s3cret" not in repr(StoredLogin("me", Secret("s3cret")))
