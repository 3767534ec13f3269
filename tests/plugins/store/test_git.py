"""git as a confined child process: what it fetches, what it tells, and all that it must not do."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rooftree_store import git, sources
from rooftree_store.git_process import GitFailed, GitUnavailable, Limits, RepositoryTooLarge
from rooftree_store.sources import RepositorySource
from tests.rig.files import write_files
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.git_server import git as run_git
from tests.rig.service_process import free_port
from tests.rig.waiting import until

REPOSITORY = {"repository.yaml": "name: Mine\n", "hello/config.yaml": "version: 1\n"}


@pytest.fixture
def repository(git_server: GitServer) -> GitRepository:
    """A repository on the server."""
    return git_server.repository(secrets.token_hex(4), REPOSITORY)


@pytest.fixture
def source(repository: GitRepository) -> RepositorySource:
    """Where it is."""
    return RepositorySource.parse(repository.url)


@pytest.fixture
async def clone(source: RepositorySource, tmp_path: Path) -> Path:
    """A clone of it."""
    await git.clone(source, tmp_path / "clone")
    return tmp_path / "clone"


def served(repository: GitRepository, server: GitServer) -> Path:
    """The repository as it lies on the server."""
    return server.served / f"{repository.folder.name}.git"


async def test_clone_has_the_files_and_one_commit(repository: GitRepository, clone: Path) -> None:
    assert (clone / "hello" / "config.yaml").read_text() == "version: 1\n"
    assert run_git("-C", clone, "rev-list", "--count", "HEAD") == "1"
    assert run_git("-C", clone, "rev-parse", "HEAD") == run_git("-C", repository.folder, "rev-parse", "HEAD")


async def test_branch_behind_the_hash_is_what_is_cloned(
    repository: GitRepository, git_server: GitServer, tmp_path: Path
) -> None:
    run_git("-C", repository.folder, "checkout", "--quiet", "-b", "feature/x")
    repository.write({"hello/config.yaml": "version: branch\n"})
    run_git("-C", repository.folder, "commit", "--all", "--quiet", "--message", "Branch")
    run_git("-C", repository.folder, "push", "--quiet", "origin", "feature/x")

    await git.clone(RepositorySource.parse(f"{repository.url}#feature/x"), tmp_path / "clone")

    assert (tmp_path / "clone" / "hello" / "config.yaml").read_text() == "version: branch\n"


async def test_update_brings_what_is_new_and_says_whether_there_was_anything(
    repository: GitRepository, source: RepositorySource, clone: Path
) -> None:
    nothing_new = await git.update(source, clone)
    repository.write({"hello/config.yaml": "version: 2\n", "new/config.yaml": "x"})
    repository.push()

    something_new = await git.update(source, clone)

    assert (nothing_new, something_new) == (False, True)
    assert (clone / "hello" / "config.yaml").read_text() == "version: 2\n"
    assert (clone / "new" / "config.yaml").exists()


async def test_update_takes_away_what_was_deleted(
    repository: GitRepository, source: RepositorySource, clone: Path
) -> None:
    repository.delete("hello")
    repository.push()

    await git.update(source, clone)

    assert not (clone / "hello").exists()


async def test_update_follows_a_history_that_was_rewritten(
    repository: GitRepository, source: RepositorySource, clone: Path
) -> None:
    repository.write({"hello/config.yaml": "version: other\n"})
    commit = repository.rewrite()

    assert await git.update(source, clone)
    assert await git.head(source, clone) == commit
    assert (clone / "hello" / "config.yaml").read_text() == "version: other\n"


async def test_update_puts_right_what_was_changed_by_hand(source: RepositorySource, clone: Path) -> None:
    (clone / "hello" / "config.yaml").write_text("version: mine\n")
    write_files(clone, {"extra/config.yaml": "x", ".git/index.lock": ""})

    changed = await git.update(source, clone)

    assert changed
    assert (clone / "hello" / "config.yaml").read_text() == "version: 1\n"
    assert not (clone / "extra").exists()


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind", "says"),
    [
        ("git://127.0.0.1:{closed}/a.git", GitUnavailable, "cannot be reached"),
        ("https://127.0.0.1:{closed}/a.git", GitUnavailable, "cannot be reached"),
        ("git://127.0.0.1:{open}/nothing.git", GitFailed, "no git repository"),
        ("git://rooftree.invalid/a.git", GitUnavailable, "cannot be reached"),
        ("{repository}#nothing", GitFailed, "no branch nothing"),
    ],
)
async def test_clone_that_fails_says_why_and_leaves_nothing(
    git_server: GitServer, repository: GitRepository, tmp_path: Path, url: str, kind: type[Exception], says: str
) -> None:
    real = url.format(closed=free_port(), open=git_server.port, repository=repository.url)

    with pytest.raises(kind, match=says):
        await git.clone(RepositorySource.parse(real), tmp_path / "clone")

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
async def broken_server() -> AsyncIterator[str]:
    """The address of a server that answers everything with an error of its own."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=502)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_server_that_is_broken_is_not_called_out_of_reach(broken_server: str, tmp_path: Path) -> None:
    with pytest.raises(GitUnavailable, match=r"something is wrong with itself: .*502") as failure:
        await git.clone(RepositorySource.parse(f"{broken_server}/a.git"), tmp_path / "clone")

    assert "cannot be reached" not in failure.value.message


async def test_server_that_is_out_of_reach_is_told_once(tmp_path: Path) -> None:
    port = free_port()

    with pytest.raises(GitUnavailable) as failure:
        await git.clone(RepositorySource.parse(f"http://127.0.0.1:{port}/a.git"), tmp_path / "clone")

    assert re.fullmatch(
        rf"The server of http://127\.0\.0\.1:{port}/a\.git cannot be reached: "
        rf"Failed to connect to 127\.0\.0\.1 port {port}( after \d+ ms)?",
        failure.value.message,
    ), failure.value.message


async def test_official_repository_is_told_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name would be taken for Home Assistant Core's."""
    address = f"http://127.0.0.1:{free_port()}/addons"
    monkeypatch.setattr(sources, "CORE_URL", address)

    with pytest.raises(GitUnavailable, match=f"The server of {address} cannot be reached"):
        await git.clone(RepositorySource.parse("core"), tmp_path / "clone")


async def test_update_from_a_server_that_is_gone_leaves_the_clone_as_it_is(clone: Path) -> None:
    gone = RepositorySource.parse(f"git://127.0.0.1:{free_port()}/a.git")

    with pytest.raises(GitUnavailable):
        await git.update(gone, clone)

    assert (clone / "hello" / "config.yaml").read_text() == "version: 1\n"
    assert not await git.reachable(gone)


async def test_damaged_clone_is_told_from_an_absent_server(source: RepositorySource, clone: Path) -> None:
    (clone / ".git" / "HEAD").write_text("nonsense")

    with pytest.raises(GitFailed):
        await git.update(source, clone)

    assert await git.reachable(source)


async def test_machine_without_git_says_so(
    source: RepositorySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(GitUnavailable, match="no git on this machine"):
        await git.clone(source, tmp_path / "clone")


async def test_user_name_of_a_url_is_not_repeated(tmp_path: Path) -> None:
    source = RepositorySource(f"https://token-of-mine@127.0.0.1:{free_port()}/a.git")

    with pytest.raises(GitUnavailable) as refused:
        await git.clone(source, tmp_path / "clone")

    said = refused.value.message.partition("cannot be reached")[2]
    assert "token-of-mine" not in said


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def children() -> set[int]:
    """The processes that this one started."""
    return {int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


async def test_server_that_never_answers_is_given_up(silent_port: int) -> None:
    source = RepositorySource.parse(f"git://127.0.0.1:{silent_port}/a.git")
    before = children()

    with pytest.raises(GitUnavailable, match="too slow"):
        await git.tip(source, Limits(answer_s=0.3))

    assert children() <= before


async def test_clone_that_is_cancelled_leaves_neither_process_nor_folder(silent_port: int, tmp_path: Path) -> None:
    source = RepositorySource.parse(f"git://127.0.0.1:{silent_port}/a.git")
    before = children()
    cloning = asyncio.create_task(git.clone(source, tmp_path / "clone"))

    async def under_way() -> bool:
        return (tmp_path / "clone").exists()

    await until(under_way, within_s=10, what="the clone's beginning")
    cloning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cloning

    assert not (tmp_path / "clone").exists()
    assert children() <= before


# --- what a repository may cost ---------------------------------------------------------------------------------------

SMALL = Limits(max_bytes=50_000, max_files=50)


def size(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))


LARGE = {
    "one file": {"large": secrets.token_hex(60_000)},
    "many files": {f"files/{number}": str(number) for number in range(60)},
    "files that pack well": {f"{number}": "0" * 20_000 for number in range(5)},
}


@pytest.mark.parametrize("files", LARGE.values(), ids=LARGE)
async def test_repository_that_is_too_large_is_refused_and_leaves_nothing(
    repository: GitRepository, source: RepositorySource, tmp_path: Path, files: dict[str, str]
) -> None:
    repository.write(files)
    repository.push()

    with pytest.raises(RepositoryTooLarge, match="max_repository_mib"):
        await git.clone(source, tmp_path / "clone", SMALL)

    assert not (tmp_path / "clone").exists()


@pytest.mark.parametrize("files", LARGE.values(), ids=LARGE)
async def test_repository_that_becomes_too_large_stays_as_it_was_and_gives_the_space_back(
    repository: GitRepository, source: RepositorySource, clone: Path, files: dict[str, str]
) -> None:
    before = size(clone)
    repository.write(files | {"hello/config.yaml": "version: 2\n"})
    repository.push()

    with pytest.raises(RepositoryTooLarge):
        await git.update(source, clone, SMALL)

    assert (clone / "hello" / "config.yaml").read_text() == "version: 1\n"
    assert size(clone) < before + 10_000
    assert await git.update(source, clone)


async def test_tree_that_unfolds_without_end_is_given_up_soon(
    repository: GitRepository, git_server: GitServer, tmp_path: Path
) -> None:
    bare = served(repository, git_server)
    blob = run_git("-C", bare, "rev-parse", "HEAD:repository.yaml")
    tree = hash_tree(bare, tmp_path, *(("100644", f"{name}", blob) for name in range(10)))
    for _ in range(12):  # 10 ** 13 files, in a pack of a few kilobytes
        tree = hash_tree(bare, tmp_path, *(("40000", f"{name}", tree) for name in range(10)))
    run_git("-C", bare, "update-ref", "refs/heads/bomb", run_git("-C", bare, "commit-tree", "-m", "Bomb", tree))
    before = children()

    async with asyncio.timeout(30):
        with pytest.raises(RepositoryTooLarge):
            await git.clone(RepositorySource.parse(f"{repository.url}#bomb"), tmp_path / "clone", Limits())

    assert not (tmp_path / "clone").exists()
    assert children() <= before


async def test_folders_that_unfold_without_end_are_given_up_soon_though_no_file_is_in_them(
    repository: GitRepository, git_server: GitServer, tmp_path: Path
) -> None:
    bare = served(repository, git_server)
    tree = hash_tree(bare, tmp_path)
    for _ in range(12):
        tree = hash_tree(bare, tmp_path, *(("40000", f"{name}", tree) for name in range(10)))
    run_git("-C", bare, "update-ref", "refs/heads/hollow", run_git("-C", bare, "commit-tree", "-m", "Hollow", tree))

    async with asyncio.timeout(30):
        with pytest.raises(RepositoryTooLarge):
            await git.clone(RepositorySource.parse(f"{repository.url}#hollow"), tmp_path / "clone", Limits())

    assert not (tmp_path / "clone").exists()


@pytest.mark.parametrize("depth", [250, 3000])
async def test_repository_with_folders_too_deep_is_refused_by_name_and_leaves_nothing(
    repository: GitRepository, git_server: GitServer, tmp_path: Path, depth: int
) -> None:
    import_files(served(repository, git_server), "deep", {f"{'d/' * depth}x": b""})

    with pytest.raises(RepositoryTooLarge, match="more than 200 folders within each other"):
        await git.clone(RepositorySource.parse(f"{repository.url}#deep"), tmp_path / "clone", Limits())

    assert not (tmp_path / "clone").exists()


async def test_git_is_never_run_in_the_local_folder_where_add_ons_can_write(tmp_path: Path) -> None:
    local = tmp_path / "local"
    run_git("init", "--quiet", str(local))
    (local / ".git" / "config").write_text("[core]\n\tfsmonitor = touch marker\n")

    for running in (git.update, git.head, git.clone):
        with pytest.raises(GitFailed, match="never run"):
            await running(RepositorySource("local"), local)  # type: ignore[operator]

    assert not (local / "marker").exists()


async def test_clone_does_not_grow_with_every_update(
    repository: GitRepository, source: RepositorySource, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "MAX_PACKS", 2)
    before = size(clone / ".git")
    for _ in range(7):
        repository.write({f"noise/{number}": secrets.token_hex(2_000) for number in range(120)})
        repository.push()
        await git.update(source, clone)

    assert size(clone / ".git") < before + 3 * 120 * 4_000


async def test_nothing_is_fetched_while_the_server_has_nothing_new(
    source: RepositorySource, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    real = git.git

    async def listen(source: RepositorySource, *arguments: str, **more: Any) -> str:
        called.extend(word for word in arguments if word in {"fetch", "ls-remote", "reset"})
        return await real(source, *arguments, **more)

    monkeypatch.setattr(git, "git", listen)

    assert not await git.update(source, clone)
    assert called == ["ls-remote"]


async def test_tag_is_followed_like_a_branch(repository: GitRepository, tmp_path: Path) -> None:
    run_git("-C", repository.folder, "tag", "--annotate", "--message", "One", "v1")
    run_git("-C", repository.folder, "push", "--quiet", "origin", "v1")
    source = RepositorySource.parse(f"{repository.url}#v1")
    await git.clone(source, tmp_path / "clone")

    assert await git.tip(source) == await git.head(source, tmp_path / "clone")
    assert not await git.update(source, tmp_path / "clone")


# --- what a repository must not be able to do -------------------------------------------------------------------------


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that whatever must not run would make."""
    return tmp_path / "it-ran"


async def test_hooks_in_a_clone_do_not_run(
    repository: GitRepository, source: RepositorySource, clone: Path, marker: Path
) -> None:
    hooks = ("post-checkout", "post-merge", "reference-transaction", "pre-auto-gc", "post-index-change", "fsmonitor")
    write_files(clone / ".git" / "hooks", dict.fromkeys(hooks, f"#!/bin/sh\ntouch {marker}\n"))
    repository.write({"hello/config.yaml": "version: 2\n"})
    repository.push()

    assert await git.update(source, clone)
    assert not marker.exists()


async def test_operators_own_git_configuration_is_not_read(
    repository: GitRepository,
    source: RepositorySource,
    marker: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository.write({".gitattributes": "* filter=evil\n"})
    repository.push()
    touch = f"touch {marker}; cat"
    write_files(
        tmp_path / "home",
        {
            ".gitconfig": f'[filter "evil"]\n\tsmudge = "{touch}"\n\tprocess = "{touch}"\n'
            f'[core]\n\tfsmonitor = "{touch}"\n[init]\n\ttemplateDir = {tmp_path}/template\n',
        },
    )
    write_files(tmp_path / "template" / "hooks", {"post-checkout": f"#!/bin/sh\n{touch}\n"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "home" / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "filter.evil.smudge")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", touch)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))

    await git.clone(source, tmp_path / "clone")

    assert (tmp_path / "clone" / "hello" / "config.yaml").read_text() == "version: 1\n"
    assert not marker.exists()


async def test_filters_that_a_repository_names_do_not_run(
    repository: GitRepository, source: RepositorySource, tmp_path: Path, marker: Path
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    repository.write(
        {
            ".gitattributes": "hello/* filter=evil diff=evil\n*.bin filter=lfs\n",
            ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {marker}\n',
            ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:1/\n",
            "large.bin": pointer,
        }
    )
    repository.push()

    await git.clone(source, tmp_path / "clone")

    assert (tmp_path / "clone" / "large.bin").read_text() == pointer
    assert not marker.exists()


async def test_submodules_are_not_fetched(
    repository: GitRepository, source: RepositorySource, git_server: GitServer, tmp_path: Path
) -> None:
    other = git_server.repository(secrets.token_hex(4), {"secret": "x"})
    run_git("-C", repository.folder, "-c", "protocol.allow=always", "submodule", "--quiet", "add", other.url, "sub")
    repository.push()

    await git.clone(source, tmp_path / "clone")
    repository.write({"hello/config.yaml": "version: 2\n"})
    repository.push()
    await git.update(source, tmp_path / "clone")

    assert list((tmp_path / "clone" / "sub").iterdir()) == []
    assert not (tmp_path / "clone" / ".git" / "modules").exists()


@pytest.mark.parametrize("url", ["file://{folder}", "{folder}", "ext::sh -c touch% {marker}"])
async def test_other_transports_are_refused_by_git_too(
    repository: GitRepository, git_server: GitServer, tmp_path: Path, marker: Path, url: str
) -> None:
    folder = served(repository, git_server)
    unchecked = RepositorySource(url.format(folder=folder, marker=marker))

    with pytest.raises(GitFailed, match="not allowed"):
        await git.clone(unchecked, tmp_path / "clone")

    assert not marker.exists()
    assert not (tmp_path / "clone").exists()


async def test_url_that_looks_like_an_option_is_none(tmp_path: Path, marker: Path) -> None:
    with pytest.raises(GitFailed):
        await git.clone(RepositorySource(f"--upload-pack=touch {marker}"), tmp_path / "clone")

    assert not marker.exists()


async def test_link_out_of_the_repository_stays_a_link(
    repository: GitRepository, source: RepositorySource, tmp_path: Path
) -> None:
    (repository.folder / "hello" / "icon.png").symlink_to("/etc/passwd")
    repository.push()

    await git.clone(source, tmp_path / "clone")

    assert (tmp_path / "clone" / "hello" / "icon.png").is_symlink()


@pytest.mark.parametrize("name", ["..", ".git", ".GIT", "git~1"])
async def test_path_that_would_leave_the_clone_or_enter_its_git_folder_is_refused(
    repository: GitRepository, git_server: GitServer, tmp_path: Path, name: str
) -> None:
    bare = served(repository, git_server)
    inner = hash_tree(bare, tmp_path, ("100644", "evil", run_git("-C", bare, "rev-parse", "HEAD:repository.yaml")))
    outer = hash_tree(bare, tmp_path, ("40000", name, inner))
    commit = run_git("-C", bare, "commit-tree", "-m", "Evil", outer)
    run_git("-C", bare, "update-ref", "refs/heads/evil", commit)

    with pytest.raises(GitFailed, match="invalid path"):
        await git.clone(RepositorySource.parse(f"{repository.url}#evil"), tmp_path / "clone")

    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "clone").exists()


def import_files(bare: Path, branch: str, files: Mapping[str, bytes]) -> None:
    """Put a commit into a repository that no working copy could have."""
    stream = f"commit refs/heads/{branch}\ncommitter A <a@example.com> 0 +0000\ndata 0\n\n".encode()
    for name, content in files.items():
        stream += f"M 100644 inline {name}\ndata {len(content)}\n".encode() + content + b"\n"
    subprocess.run(["git", "-C", bare, "fast-import", "--quiet"], input=stream, check=True)


def hash_tree(bare: Path, folder: Path, *entries: tuple[str, str, str]) -> str:
    """Write a tree into a repository, unchecked; its id."""
    (folder / "tree").write_bytes(
        b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(target) for mode, name, target in entries)
    )
    return run_git("-C", bare, "hash-object", "-t", "tree", "--literally", "-w", folder / "tree")
