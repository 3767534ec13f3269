"""Repositories that are broken, rewritten or gone later on: what was good stays good."""

from __future__ import annotations

import socket

import pytest

from tests.e2e.git.repositories import add, added, clones, nothing_was_added, offered
from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon
from tests.rig.engine import Engine
from tests.rig.git_server import GitServer, git

pytestmark = pytest.mark.xdist_group("git changes")


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
