"""Submodules: fetched as far as it is safe, told where they are not, and never a way out or in."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from rooftree_store import submodules
from rooftree_store.git import clone
from rooftree_store.git_process import USUAL, Limits
from rooftree_store.sources import RepositorySource
from rooftree_store.submodules import bring_submodules
from tests.plugins.store.shop import Shop, config
from tests.rig.files import write_files
from tests.rig.git_http_server import serve_git_over_http
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.git_server import git as run_git
from tests.rig.service_process import free_port

type Publish = Callable[..., GitRepository]


@pytest.fixture
def publish(git_server: GitServer) -> Publish:
    """Makes repositories on the server."""

    def make(**files: str) -> GitRepository:
        return git_server.repository(secrets.token_hex(4), {"repository.yaml": "name: Mine\n", **files})

    return make


def add(outer: GitRepository, inner: GitRepository, path: str = "rootfs", url: str | None = None) -> None:
    """Make a repository a submodule of another; ``url`` is what ``.gitmodules`` says, if not its address."""
    run_git("-C", outer.folder, "-c", "protocol.allow=always", "submodule", "--quiet", "add", inner.url, path)
    if url is not None:
        run_git("-C", outer.folder, "config", "--file", ".gitmodules", f"submodule.{path}.url", url)
    outer.push()


def move(outer: GitRepository, path: str = "rootfs") -> None:
    """Let the outer repository name the inner one's newest commit."""
    run_git("-C", outer.folder / path, "pull", "--quiet", "origin", "main")
    outer.push()


async def cloned(outer: GitRepository, folder: Path, limits: Limits = USUAL) -> submodules.Brought:
    """A clone with its submodules, and what came of these."""
    source = RepositorySource.parse(outer.url)
    await clone(source, folder)
    return await bring_submodules(source, folder, limits)


async def test_submodule_comes_at_the_commit_that_is_named(publish: Publish, tmp_path: Path) -> None:
    outer, inner = publish(), publish(run="first")
    add(outer, inner)
    inner.write({"run": "second"})
    inner.push()

    brought = await cloned(outer, tmp_path / "clone")

    assert (brought.changed, brought.lacking) == (True, {})
    assert (tmp_path / "clone" / "rootfs" / "run").read_text() == "first"


async def test_address_may_be_relative_to_the_outer_repository(publish: Publish, tmp_path: Path) -> None:
    outer, inner = publish(), publish(run="first")
    add(outer, inner, url=f"../{inner.folder.name}.git")

    brought = await cloned(outer, tmp_path / "clone")

    assert brought.lacking == {}
    assert (tmp_path / "clone" / "rootfs" / "run").exists()


async def test_submodules_have_submodules_but_not_without_end(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submodules, "MAX_DEPTH", 2)
    chain = [publish(name=str(number)) for number in range(4)]
    for outer, inner in reversed(list(itertools.pairwise(chain))):
        add(outer, inner, "sub")

    brought = await cloned(chain[0], tmp_path / "clone")

    assert (tmp_path / "clone" / "sub" / "sub" / "name").read_text() == "2"
    assert list(brought.lacking) == ["sub/sub/sub"]
    assert list((tmp_path / "clone" / "sub" / "sub" / "sub").iterdir()) == []


async def test_more_submodules_than_are_reasonable_are_left_out(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submodules, "MAX_SUBMODULES", 1)
    outer, inner = publish(), publish()
    for path in ("a", "b"):
        add(outer, inner, path)

    assert list((await cloned(outer, tmp_path / "clone")).lacking) == ["b"]


# --- in the store -----------------------------------------------------------------------------------------------------


async def test_add_on_in_a_submodule_is_offered_and_follows_it(here: Shop, publish: Publish) -> None:
    outer, inner = publish(), publish(**{"hello/config.json": config()})
    add(outer, inner, "more")
    await here.add(outer.url)
    first = here.offered()
    inner.write({"hello/config.json": config(version="2.0")})
    inner.push()
    await here.reload()
    unmoved = here.offered()
    move(outer, "more")

    await here.reload()

    assert list(first.values()) == list(unmoved.values()) == ["1.0"]
    assert list(here.offered().values()) == ["2.0"]


async def test_submodule_that_goes_is_taken_away(here: Shop, publish: Publish) -> None:
    outer, inner = publish(), publish(**{"hello/config.json": config()})
    add(outer, inner, "more")
    await here.add(outer.url)
    run_git("-C", outer.folder, "rm", "--quiet", "more")
    outer.push()

    await here.reload()

    assert here.offered() == {}
    (clone_,) = here.clones.iterdir()
    assert not (clone_ / "more").exists()


async def test_submodule_that_is_missing_is_told_and_fetched_when_it_is_back(
    here: Shop, publish: Publish, git_server: GitServer
) -> None:
    outer, inner = publish(**{"lamp/config.json": config("lamp")}), publish(**{"hello/config.json": config()})
    add(outer, inner, "more")
    place = git_server.served / f"{inner.folder.name}.git"
    place.rename(place.with_suffix(".away"))
    added = await here.add(outer.url)
    without, problem = here.offered(), here.problem("submodules_missing")
    place.with_suffix(".away").rename(place)

    await here.reload()

    assert added.data == {}
    assert [name.partition("_")[2] for name in without] == ["lamp"]
    assert problem is not None
    assert "more: There is no git repository at" in problem.message
    assert len(here.offered()) == 2
    assert here.problem("submodules_missing") is None


async def test_submodule_that_was_changed_by_hand_is_put_right(here: Shop, publish: Publish) -> None:
    outer, inner = publish(), publish(**{"hello/config.json": config()})
    add(outer, inner, "more")
    await here.add(outer.url)
    (clone_,) = here.clones.iterdir()
    (clone_ / "more" / "hello" / "config.json").write_text(config(version="9.9"))
    write_files(clone_ / "more", {".git/HEAD": "nonsense"})

    await here.reload()

    assert list(here.offered().values()) == ["1.0"]


# --- what must not be -------------------------------------------------------------------------------------------------


REFUSED_URLS = {
    "file://{served}/{inner}.git": "must begin with",
    "{served}/{inner}.git": "must begin with",
    "ext::sh -c touch% {mark}": "must be a URL",
    "--upload-pack=touch {mark}": "must be a URL",
    "http://127.0.0.1:{port}/{inner}.git": "git:// or https://",
    "ssh://-oProxyCommand=touch/{inner}": "must name a host",
    "ssh://127.0.0.1/{inner}": "git:// or https://",
    "https://user:password@127.0.0.1/{inner}": "login",
    "../../../../etc": "name a repository|no git repository|git failed",
}
"""What a submodule's address may not be, and how each is refused."""


async def test_address_that_a_repository_itself_may_not_have_is_refused(
    publish: Publish, git_server: GitServer, tmp_path: Path
) -> None:
    outer, inner = publish(), publish()
    mark = tmp_path / "mark"
    commit = run_git("-C", inner.folder, "rev-parse", "HEAD")
    for number, url in enumerate(REFUSED_URLS):
        asked = url.format(served=git_server.served, inner=inner.folder.name, mark=mark, port=free_port())
        for key, value in (("path", f"sub{number}"), ("url", asked)):
            run_git("-C", outer.folder, "config", "--file", ".gitmodules", f"submodule.sub{number}.{key}", value)
        (outer.folder / f"sub{number}").mkdir()
        run_git("-C", outer.folder, "update-index", "--add", "--cacheinfo", f"160000,{commit},sub{number}")
    outer.push()

    brought = await cloned(outer, tmp_path / "clone")

    assert list(brought.lacking) == [f"sub{number}" for number in range(len(REFUSED_URLS))]
    for path, (url, reason) in zip(brought.lacking, REFUSED_URLS.items(), strict=True):
        said = brought.lacking[path]
        assert any(part in said for part in reason.split("|")), (url, said)
        assert "password@" not in said
        assert list((tmp_path / "clone" / path).iterdir()) == []
    assert not mark.exists()


async def test_commands_in_gitmodules_and_hooks_of_a_submodule_do_not_run(publish: Publish, tmp_path: Path) -> None:
    outer, inner = publish(), publish(**{".gitattributes": "* filter=evil\n", "hooks/post-checkout": "#!/bin/sh\nx\n"})
    add(outer, inner)
    mark = tmp_path / "mark"
    for key in ("update", "fetchRecurseSubmodules"):
        run_git("-C", outer.folder, "config", "--file", ".gitmodules", f"submodule.rootfs.{key}", f"!touch {mark}")
    outer.push()

    assert (await cloned(outer, tmp_path / "clone")).lacking == {}
    assert not mark.exists()
    assert not (tmp_path / "clone" / "rootfs" / ".git" / "hooks" / "post-checkout").exists()


async def test_submodule_behind_a_link_is_not_written_through_it(
    publish: Publish, git_server: GitServer, tmp_path: Path
) -> None:
    inner = publish(secret="x")
    outer = publish()
    add(outer, inner)
    source = RepositorySource.parse(outer.url)
    await clone(source, tmp_path / "clone")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "clone" / "rootfs").rmdir()
    (tmp_path / "clone" / "rootfs").symlink_to(tmp_path / "elsewhere")

    brought = await bring_submodules(source, tmp_path / "clone")

    assert brought.lacking == {"rootfs": "its path leads elsewhere"}
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_submodules_count_towards_what_the_repository_may_have(publish: Publish, tmp_path: Path) -> None:
    outer, small, large = publish(), publish(a="0" * 40_000), publish(b="0" * 40_000)
    add(outer, small, "a")
    add(outer, large, "b")

    brought = await cloned(outer, tmp_path / "clone", Limits(max_bytes=60_000))

    assert list(brought.lacking) == ["b"]
    assert "too large" in brought.lacking["b"]
    assert list((tmp_path / "clone" / "b").iterdir()) == []


@pytest.mark.parametrize("same_server", [True, False])
async def test_login_goes_to_submodules_of_the_same_server_only(
    here: Shop, publish: Publish, git_server: GitServer, *, same_server: bool
) -> None:
    outer, inner = publish(), publish(**{"hello/config.json": config()})
    async with serve_git_over_http(git_server.served) as server, serve_git_over_http(git_server.served) as other:
        server.login = other.login = "reader:hunter2"
        home = server if same_server else other
        add(outer, inner, "more", url=home.url(inner.folder.name))

        await here.add(server.url(outer.folder.name, "reader:hunter2"))

        assert (len(here.offered()) == 1) is same_server
        assert {login for _, login in other.asked} <= {None}
        assert bool(other.asked) is not same_server
