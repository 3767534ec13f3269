"""Repositories that are hostile: nothing of theirs is followed or run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.git.repositories import SECRET, add, added, nothing_was_added, offered
from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon
from tests.rig.engine import Engine
from tests.rig.git_server import GitServer, git

pytestmark = pytest.mark.xdist_group("git changes")


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
    copied = lamp.run_beside("cat /context/icon.png /context/rootfs/* 2>&1; true")

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
