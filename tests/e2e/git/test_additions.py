"""Repositories that cannot be added: said by name, and nothing is half added."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from signal import SIGKILL

import aiohttp
import pytest

from tests.e2e.git.repositories import MAX_REPOSITORY_MIB, SECRET, add, added, clones, nothing_was_added, offered
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon
from tests.rig.git_http_server import serve_git_over_http
from tests.rig.git_server import GitServer, git
from tests.rig.line import line_to
from tests.rig.service_process import free_port
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("git")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "--upload-pack=touch /tmp/rooftree-was-here",
        "-u",
        "ext::sh -c 'touch /tmp/rooftree-was-here'",
        "file:///etc",
        "/etc",
        "../..",
        "git@example.com:owner/name.git",
        "fd::17/foo",
        "ftp://example.com/name.git",
        "https://example.com/a b.git",
        "https://example.com/name.git\n--upload-pack=x",
        "https://example.com/na\tme.git",
        "ssh://user:password@example.com/name.git",
        "https://-oProxyCommand=x/name.git",
        "ssh://-oProxyCommand=x/name.git",
        "ssh://-oProxyCommand=x@example.com/name.git",
        "https://example.com",
        "https:///name.git",
        "https://example.com:99999/name.git",
        "https://example.com/name.git#--upload-pack=x",
        "https://example.com/name.git#a..b",
        "https://example.com/name.git#",
        "https://example.com/" + "a" * 2000,
        "https://example.com\\@evil.example.com/name.git",
    ],
)
async def test_url_that_is_no_plain_git_url_is_refused_by_field(daemon: Daemon, url: str) -> None:
    status, body = await add(daemon, url)

    assert (status, body["result"]) == (400, "error")
    assert body["message"].startswith("repository")
    assert "password@" not in body["message"]
    assert "user:password" not in daemon.log()
    await nothing_was_added(daemon)


@pytest.mark.parametrize("body", [{}, {"repository": None}, {"repository": 5}, {"repository": ["x"]}, [], None, "x"])
async def test_body_that_names_no_repository_is_refused(daemon: Daemon, body: object) -> None:
    status, answer = await daemon.call("POST", "/store/repositories", body)

    assert (status, answer["result"]) == (400, "error")
    await nothing_was_added(daemon)


async def test_server_that_cannot_be_reached_is_said_so(daemon: Daemon) -> None:
    url = f"git://127.0.0.1:{free_port()}/name.git"

    status, body = await add(daemon, url)

    assert (status, body["error_key"]) == (503, "store_repository_unreachable_error")
    assert url in body["message"] and "cannot be reached" in body["message"]
    await nothing_was_added(daemon)


async def test_host_that_does_not_exist_is_said_so(daemon: Daemon) -> None:
    status, body = await add(daemon, "https://nowhere.invalid/name.git")

    assert (status, body["error_key"]) == (503, "store_repository_unreachable_error")
    await nothing_was_added(daemon)


async def test_repository_that_is_not_there_is_said_so(daemon: Daemon, git_server: GitServer) -> None:
    status, body = await add(daemon, f"git://127.0.0.1:{git_server.port}/missing.git")

    assert (status, body["error_key"]) == (500, "store_repository_unknown_error")
    assert "no git repository at git://" in body["message"]
    await nothing_was_added(daemon)


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": "Something else"},
        {"repository.yaml": "maintainer: nobody"},
        {"repository.yaml": ":\n\t- ]["},
        {"repository.json": "[]"},
        {"repository.yaml": "{name: x, url: 5}"},
    ],
    ids=["no-file", "no-name", "no-yaml", "no-mapping", "wrong-url"],
)
async def test_repository_of_something_else_is_refused(
    daemon: Daemon, git_server: GitServer, files: dict[str, str], request: pytest.FixtureRequest
) -> None:
    repository = git_server.repository(f"other-{request.node.callspec.id}", files)

    status, body = await add(daemon, repository.url)

    assert (status, body["error_key"]) == (400, "store_repository_unknown_error")
    assert "is no add-on repository" in body["message"] and repository.url in body["message"]
    await nothing_was_added(daemon)


async def test_empty_repository_is_refused(daemon: Daemon, git_server: GitServer) -> None:
    bare = git_server.served / "empty.git"
    git("init", "--quiet", "--bare", bare)

    status, body = await add(daemon, f"git://127.0.0.1:{git_server.port}/empty.git")

    assert status in {400, 500} and body["error_key"] == "store_repository_unknown_error"
    await nothing_was_added(daemon)


async def test_repository_is_added_once(daemon: Daemon, git_server: GitServer) -> None:
    repository = git_server.repository("once", {**REPOSITORY, **addon_files("lamp", image="example.com/rig/lamp")})
    slug = await added(daemon, repository)

    status, body = await add(daemon, repository.url)

    assert (status, body["error_key"]) == (409, "store_repository_already_added_error")
    assert clones(daemon) == [slug] and await offered(daemon) == {"Lamp": "1.0"}


async def test_kill_in_the_middle_of_a_clone_leaves_nothing(daemon: Daemon, git_server: GitServer) -> None:
    repository = git_server.repository("large", REPOSITORY)
    (repository.folder / "noise").write_bytes(random.Random(7).randbytes(2_000_000))
    repository.push()
    async with line_to(git_server.port) as line:
        url = repository.url.replace(str(git_server.port), str(line.port))
        line.hold_after(500_000)

        adding = asyncio.create_task(add(daemon, url))
        await line.held()
        half = clones(daemon)
        await daemon.kill()
        with pytest.raises(aiohttp.ClientError):
            await adding
        await daemon.start()
        await daemon.recovered()

        assert len(half) == 1
        interrupted = (await daemon.ok("GET", "/jobs/info"))["jobs"][0]
        assert (interrupted["reference"], interrupted["errors"][0]["type"]) == (url, "JobInterrupted")
        await nothing_was_added(daemon)
        line.release()
        assert (await add(daemon, url))[0] == 200


@pytest.mark.parametrize("step", ["store.clone_repository/1", "store.register_repository/1"])
@pytest.mark.parametrize("place", ["do", "done"])
async def test_killed_addition_is_as_if_never_begun(
    daemon: Daemon, git_server: GitServer, step: str, place: str, request: pytest.FixtureRequest
) -> None:
    repository = git_server.repository(
        f"killed-{step.partition('.')[2].partition('/')[0]}-{place}",
        {**REPOSITORY, **addon_files("lamp", image="example.com/rig/lamp")},
    )
    await daemon.kill()
    await daemon.start(failpoints=f"step:{step}:{place}=kill")

    with pytest.raises(aiohttp.ClientError):
        await add(daemon, repository.url)
    assert await daemon.ended() == -SIGKILL
    await daemon.start()
    await daemon.recovered()

    await nothing_was_added(daemon)
    await added(daemon, repository)
    assert await offered(daemon) == {"Lamp": "1.0"}


async def test_repository_that_is_too_large_is_refused_and_gives_its_space_back(
    daemon: Daemon, git_server: GitServer
) -> None:
    repository = git_server.repository("huge", {**REPOSITORY, **addon_files("lamp", image="example.com/rig/lamp")})
    slug = await added(daemon, repository)
    before = size(daemon.data_dir / "apps")
    (repository.folder / "noise").write_bytes(random.Random(7).randbytes(MAX_REPOSITORY_MIB * 1024**2 + 1))
    repository.write(addon_files("lamp", "2.0", image="example.com/rig/lamp"))
    repository.push()

    await daemon.ok("POST", "/store/reload")
    status, body = await add(daemon, f"{repository.url}#main")

    assert (status, body["error_key"]) == (500, "store_repository_unknown_error")
    assert "too large" in body["message"] and "max_repository_mib" in body["message"]
    assert await offered(daemon) == {"Lamp": "1.0"}
    assert clones(daemon) == [slug]
    assert size(daemon.data_dir / "apps") < before + 100_000


def size(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))


async def test_login_in_an_address_works_and_is_told_to_nobody(daemon: Daemon, git_server: GitServer) -> None:
    repository = git_server.repository("private", {**REPOSITORY, **addon_files("lamp", image="example.com/rig/lamp")})
    async with serve_git_over_http(git_server.served) as server:
        server.login = f"reader:{SECRET}"

        wrong = await add(daemon, server.url("private", f"reader:{SECRET}x"))
        right = await add(daemon, server.url("private", f"reader:{SECRET}"))
        repository.write(addon_files("lamp", "2.0", image="example.com/rig/lamp"))
        repository.push()
        await daemon.restart()
        await daemon.ok("POST", "/store/reload")

        assert (wrong[0], right[0]) == (500, 200)
        assert await offered(daemon) == {"Lamp": "2.0"}
        (entry,) = [one for one in await daemon.ok("GET", "/store/repositories") if one["slug"] != "local"]
        assert entry["source"] == server.url("private")
        told = [str(wrong[1]), str(await daemon.ok("GET", "/jobs/info")), daemon.log()]
        assert [text for text in told if SECRET in text] == []
        files = [path for path in (daemon.data_dir / "apps").rglob("*") if path.is_file()]
        assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


async def test_server_that_hangs_delays_no_other(daemon: Daemon, git_server: GitServer) -> None:
    files = {**REPOSITORY, **addon_files("lamp", image="example.com/rig/lamp")}
    slow, quick = git_server.repository("hanging", files), git_server.repository("quick", REPOSITORY)
    async with line_to(git_server.port) as line:
        assert (await add(daemon, slow.url.replace(str(git_server.port), str(line.port))))[0] == 200
        await added(daemon, quick)
        quick.write(addon_files("fan", image="example.com/rig/fan"))
        quick.push()
        line.hold_after(0)

        reloading = asyncio.create_task(daemon.ok("POST", "/store/reload"))
        await line.held()

        async def is_offered() -> bool:
            return "Fan" in await offered(daemon)

        await until(is_offered, within_s=5, what="the quick server's add-on")
        assert not reloading.done()
        await reloading
        assert await offered(daemon) == {"Lamp": "1.0", "Fan": "1.0"}
