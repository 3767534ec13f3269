"""Repositories that are wrong, gone, rewritten or hostile: nothing is half added, and what was good stays good."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.git_http_server import serve_git_over_http
from tests.rig.git_server import GitRepository, GitServer, git
from tests.rig.line import line_to
from tests.rig.service_process import free_port
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("git")

SECRET = "what-nobody-may-read"
MAX_REPOSITORY_MIB = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: Engine, hostile_home: Path) -> AsyncIterator[Daemon]:
    """One daemon for all tests, run by an operator with a dangerous git configuration."""
    async with disposable_daemon(engine) as daemon:
        daemon.environment = {
            "HOME": str(hostile_home),
            "GIT_DIR": str(hostile_home),
            "GIT_EDITOR": "false",
            "ROOFTREE_PLUGINS__STORE__MAX_REPOSITORY_MIB": str(MAX_REPOSITORY_MIB),
            "ROOFTREE_PLUGINS__STORE__ANSWER_TIMEOUT_S": "6",
        }
        await daemon.start()
        yield daemon


@pytest.fixture
async def daemon(shared: Daemon) -> AsyncIterator[Daemon]:
    """The daemon, without any repository but ``local``, before and after."""
    if not shared.running:
        await shared.start()
    yield shared
    if not shared.running:
        await shared.start()
    await shared.recovered()
    for addon in (await shared.ok("GET", "/addons"))["addons"]:
        await shared.ok("POST", f"/addons/{addon['slug']}/uninstall", {})
    for repository in await shared.ok("GET", "/store/repositories"):
        if repository["slug"] != "local":
            await shared.ok("DELETE", f"/store/repositories/{repository['slug']}")
    assert clones(shared) == []


def clones(daemon: Daemon) -> list[str]:
    """What lies where the clones are."""
    folder = daemon.data_dir / "apps" / "git"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def add(daemon: Daemon, url: str) -> tuple[int, Any]:
    """Add a repository; status and body of the answer."""
    return await daemon.call("POST", "/store/repositories", {"repository": url})


async def added(daemon: Daemon, repository: GitRepository) -> str:
    """Add a repository that is good. Its slug."""
    status, body = await add(daemon, repository.url)
    assert status == 200, body
    slug: str = (await daemon.ok("GET", "/store/repositories"))[-1]["slug"]
    return slug


async def offered(daemon: Daemon) -> dict[str, str]:
    """What the store has: version by name."""
    addons = (await daemon.ok("GET", "/store"))["addons"]
    return {addon["name"]: addon["version_latest"] for addon in addons}


async def nothing_was_added(daemon: Daemon) -> None:
    """The store and its folder are as they were at first."""
    assert [repository["slug"] for repository in await daemon.ok("GET", "/store/repositories")] == ["local"]
    assert await offered(daemon) == {}
    assert clones(daemon) == []


# --- what cannot be added ---------------------------------------------------------------------------------------------


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


# --- what changes under us --------------------------------------------------------------------------------------------


async def test_broken_add_on_leaves_its_neighbours_on_offer_and_is_reported(
    daemon: Daemon, git_server: GitServer
) -> None:
    good = addon_files("lamp", image="example.com/rig/lamp")
    repository = git_server.repository("broken", {**REPOSITORY, **good})
    slug = await added(daemon, repository)
    repository.write(
        {
            "unfinished/config.yaml": "name: Unfinished\nslug: unfinished",
            "no_yaml/config.yaml": "slug: no_yaml\n\t]:",
            "wrong/config.json": '{"name": "Wrong", "slug": "../../etc", "version": "1", "arch": ["amd64"]}',
            **addon_files("lamp2", image="example.com/rig/lamp"),
        }
    )
    repository.push()

    await daemon.ok("POST", "/store/reload")

    assert await offered(daemon) == {"Lamp": "1.0", "Lamp2": "1.0"}
    reported = [line for line in daemon.log().splitlines() if "broken_addon_config" in line and slug in line][-1]
    assert all(f"{name}/config" in reported for name in ("unfinished", "no_yaml", "wrong"))
    for name in ("unfinished", "no_yaml", "wrong"):
        repository.delete(name)
    repository.push()
    await daemon.ok("POST", "/store/reload")
    assert "problem_cleared" in [line for line in daemon.log().splitlines() if "broken_addon_config" in line][-1]


async def test_second_add_on_with_a_slug_is_left_out(daemon: Daemon, git_server: GitServer) -> None:
    first = addon_files("lamp", image="example.com/rig/lamp")
    second = {name.replace("lamp/", "zebra/"): text.replace("Lamp", "Zebra") for name, text in first.items()}
    repository = git_server.repository("twice", {**REPOSITORY, **first, **second})

    await added(daemon, repository)

    assert await offered(daemon) == {"Lamp": "1.0"}
    assert any("zebra/config.yaml" in line and "already that of lamp" in line for line in daemon.log().splitlines())


async def test_rewritten_history_is_followed(daemon: Daemon, git_server: GitServer) -> None:
    repository = git_server.repository("rewritten", {**REPOSITORY, **addon_files("lamp", image="example.com/rig/lamp")})
    await added(daemon, repository)
    repository.write(addon_files("lamp", "2.0", image="example.com/rig/lamp"))
    repository.rewrite()

    await daemon.ok("POST", "/store/reload")

    assert await offered(daemon) == {"Lamp": "2.0"}


async def test_branch_behind_the_hash_sign_is_the_one_that_is_offered(daemon: Daemon, git_server: GitServer) -> None:
    repository = git_server.repository("branches", {**REPOSITORY, **addon_files("lamp", image="example.com/rig/lamp")})
    git("-C", repository.folder, "checkout", "--quiet", "-b", "beta/next")
    repository.write(addon_files("lamp", "2.0-beta", image="example.com/rig/lamp"))
    git("-C", repository.folder, "commit", "--quiet", "--all", "--message", "Next")
    git("-C", repository.folder, "push", "--quiet", "origin", "beta/next")

    missing = await add(daemon, f"{repository.url}#nowhere")
    beta = await add(daemon, f"{repository.url}#beta/next")

    assert (missing[0], missing[1]["error_key"]) == (500, "store_repository_unknown_error")
    assert "has no branch nowhere" in missing[1]["message"]
    assert beta[0] == 200
    assert await offered(daemon) == {"Lamp": "2.0-beta"}


async def test_add_ons_of_a_repository_that_vanished_stay_on_offer(daemon: Daemon, git_server: GitServer) -> None:
    files = {**REPOSITORY, **addon_files("lamp", image="example.com/rig/lamp")}
    repository, other = git_server.repository("vanishing", files), git_server.repository("staying", REPOSITORY)
    slug = await added(daemon, repository)
    await added(daemon, other)
    (git_server.served / "vanishing.git").rename(git_server.served / "vanished.git")
    other.write(addon_files("fan", image="example.com/rig/fan"))
    other.push()

    await daemon.ok("POST", "/store/reload")
    await daemon.restart()

    assert await offered(daemon) == {"Lamp": "1.0", "Fan": "1.0"}
    assert any("could not be brought up to date" in line and slug in line for line in daemon.log().splitlines())
    (git_server.served / "vanished.git").rename(git_server.served / "vanishing.git")
    repository.write(addon_files("lamp", "2.0", image="example.com/rig/lamp"))
    repository.push()
    await daemon.ok("POST", "/store/reload")
    assert (await offered(daemon))["Lamp"] == "2.0"


async def test_repository_in_use_cannot_be_removed(
    daemon: Daemon, engine: Engine, git_server: GitServer, base_image: str
) -> None:
    repository = git_server.repository("used", {**REPOSITORY, **addon_files("lamp", base=base_image)})
    slug = await added(daemon, repository)
    lamp = Addon(daemon, engine, f"{slug}_lamp")
    await lamp.install()

    status, body = await daemon.call("DELETE", f"/store/repositories/{slug}")

    assert (status, body["result"]) == (400, "error") and lamp.slug in body["message"]
    assert clones(daemon) == [slug] and await offered(daemon) == {"Lamp": "1.0"}
    await lamp.uninstall()
    assert (await daemon.call("DELETE", f"/store/repositories/{slug}"))[0] == 200
    await nothing_was_added(daemon)


@pytest.mark.parametrize(
    "slug",
    [
        "..",
        "../local",
        "..%2flocal",
        "%2e%2e",
        "local%2f..",
        "local_..",
        "local_../../x",
        "local_a%00b",
        "local_",
        "x_y",
    ],
)
async def test_slug_with_a_path_in_it_is_refused_everywhere(daemon: Daemon, slug: str) -> None:
    before = sorted(str(path) for path in daemon.data_dir.rglob("*"))
    answers = {
        f"{method} {path}": await raw_status(daemon, method, path)
        for method, path in (
            ("GET", f"/store/repositories/{slug}"),
            ("DELETE", f"/store/repositories/{slug}"),
            ("GET", f"/store/addons/{slug}"),
            ("GET", f"/store/addons/{slug}/icon"),
            ("GET", f"/store/addons/{slug}/changelog"),
            ("POST", f"/store/addons/{slug}/install"),
            ("POST", f"/addons/{slug}/uninstall"),
            ("GET", f"/addons/{slug}/info"),
        )
    }

    assert set(answers.values()) <= {400, 404, 405}, answers
    assert sorted(str(path) for path in daemon.data_dir.rglob("*")) == before


async def raw_status(daemon: Daemon, method: str, path: str) -> int:
    """The status of a request whose target nobody tidied up on the way."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=10) as connection:
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.admin_token}\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        return int(connection.makefile("rb").readline().split()[1])


# --- what is hostile --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a secret, to which nothing in a repository may lead."""
    folder = tmp_path_factory.mktemp("outside")
    secret = addon_files("stolen", image="example.com/rig/stolen", description=SECRET)["stolen/config.yaml"]
    for name in ("config.yaml", "secret.txt"):
        (folder / name).write_text(secret, encoding="utf-8")
    return folder


async def test_links_that_lead_out_of_a_repository_are_never_followed(
    daemon: Daemon, engine: Engine, git_server: GitServer, base_image: str, outside: Path
) -> None:
    repository = git_server.repository("links", {**REPOSITORY, **addon_files("lamp", base=base_image)})
    for name in ("icon.png", "logo.png", "README.md", "DOCS.md", "CHANGELOG.md", "apparmor.txt"):
        (repository.folder / "lamp" / name).symlink_to(outside / "secret.txt")
    (repository.folder / "lamp" / "translations").symlink_to(outside)
    (repository.folder / "lamp" / "rootfs").symlink_to(outside)
    (repository.folder / "linked").symlink_to(outside)
    (repository.folder / "stolen").mkdir()
    (repository.folder / "stolen" / "config.yaml").symlink_to(outside / "config.yaml")
    dockerfile = repository.folder / "lamp" / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "COPY . /context\n")
    repository.push()
    slug = await added(daemon, repository)
    lamp = Addon(daemon, engine, f"{slug}_lamp")

    paths = [f"/store/addons/{lamp.slug}{part}" for part in ("", "/icon", "/logo", "/documentation", "/changelog")]
    shown = [str(await daemon.call("GET", path)) for path in ("/store", *paths)]
    await lamp.install()
    shown.append(str(await lamp.info()))
    await lamp.start()
    copied = lamp.run_inside("cat /context/icon.png /context/rootfs/* 2>&1; true")

    assert await offered(daemon) == {"Lamp": "1.0"}
    assert (await daemon.call("GET", f"/store/addons/{lamp.slug}"))[0] == 200
    assert not [text for text in (*shown, copied, daemon.log()) if SECRET in text]


@pytest.mark.parametrize("name", ["Dockerfile", "build.yaml"])
async def test_instructions_to_build_that_lead_out_of_the_repository_are_refused(
    daemon: Daemon, git_server: GitServer, base_image: str, outside: Path, name: str
) -> None:
    repository = git_server.repository(f"leading-{name}", {**REPOSITORY, **addon_files("lamp", base=base_image)})
    (repository.folder / "lamp" / name).unlink(missing_ok=True)
    (repository.folder / "lamp" / name).symlink_to(outside / "secret.txt")
    repository.push()
    slug = await added(daemon, repository)

    status, body = await daemon.call("POST", f"/store/addons/{slug}_lamp/install", {})

    assert (status, body["result"]) == (400, "error")
    assert ("Dockerfile" if name == "Dockerfile" else "build file") in body["message"]
    assert SECRET not in body["message"] and SECRET not in daemon.log()
    assert (await daemon.ok("GET", "/addons"))["addons"] == []


async def test_repository_file_that_leads_out_is_no_repository_file(
    daemon: Daemon, git_server: GitServer, outside: Path
) -> None:
    repository = git_server.repository("borrowed", {"x": ""})
    (repository.folder / "repository.yaml").symlink_to(outside / "config.yaml")
    repository.push()

    status, body = await add(daemon, repository.url)

    assert (status, body["error_key"]) == (400, "store_repository_unknown_error")
    await nothing_was_added(daemon)


@pytest.fixture(scope="module")
def hostile_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder whose git configuration leaves a mark when anything in it is run."""
    home = tmp_path_factory.mktemp("home")
    mark = home / "mark"
    hook = home / "hooks" / "post-checkout"
    hook.parent.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hook.parent / name).write_text(f"#!/bin/sh\necho hook >> {mark}\n")
        (hook.parent / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {hook.parent}\n\tfsmonitor = "echo fsmonitor >> {mark}"\n'
        f'[filter "evil"]\n\tsmudge = "echo smudge >> {mark}; cat"\n\tclean = "echo clean >> {mark}; cat"\n'
        f'[submodule]\n\trecurse = true\n[credential]\n\thelper = "!echo credential >> {mark}"\n'
    )
    yield home
    assert not mark.exists(), mark.read_text()


async def test_hooks_and_filters_of_a_repository_and_its_submodules_do_nothing(
    daemon: Daemon, git_server: GitServer, hostile_home: Path
) -> None:
    inner = git_server.repository("inner", {**REPOSITORY, **addon_files("inner", image="example.com/rig/inner")})
    repository = git_server.repository(
        "hostile",
        {
            **REPOSITORY,
            **addon_files("lamp", image="example.com/rig/lamp"),
            ".gitattributes": "* filter=evil diff=evil merge=evil\n",
            "hooks/post-checkout": f"#!/bin/sh\necho own-hook >> {hostile_home}/mark\n",
            ".gitmodules": f'[submodule "sub"]\n\tpath = sub\n\turl = {inner.url}\n\tupdate = !touch mark\n',
        },
    )
    commit = git("-C", inner.folder, "rev-parse", "HEAD")
    git("-C", repository.folder, "update-index", "--add", "--cacheinfo", f"160000,{commit},sub")
    git("-C", repository.folder, "commit", "--quiet", "--message", "Submodule")
    git("-C", repository.folder, "push", "--quiet", "origin", "main")
    slug = await added(daemon, repository)
    repository.write(addon_files("lamp", "2.0", image="example.com/rig/lamp"))
    git("-C", repository.folder, "add", "lamp")
    git("-C", repository.folder, "commit", "--quiet", "--message", "Next")
    git("-C", repository.folder, "push", "--quiet", "origin", "main")

    await daemon.ok("POST", "/store/reload")
    await daemon.ok("POST", f"/store/repositories/{slug}/repair")

    assert await offered(daemon) == {"Lamp": "2.0", "Inner": "1.0"}
    assert not (daemon.data_dir / "apps" / "git" / slug / "sub" / "mark").exists()
    assert not (hostile_home / "mark").exists(), (hostile_home / "mark").read_text()
