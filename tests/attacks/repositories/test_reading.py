"""What repositories and the local folder of add-ons can do to us: everything in them is a stranger's.

The local folder belongs to every add-on that has ``addons:rw``, at any moment; repositories come by git, as their
author made them. Nothing of ours may be read through them, and nobody may be held up.
"""

from __future__ import annotations

import asyncio
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attacks.repositories.hostile import (
    SECRET,
    hostile,
    prompt,
)
from tests.plugins.addons.house import HELLO, House
from tests.plugins.store.shop import Shop, config
from tests.requirements import needs
from tests.rig.files import write_files
from tests.rig.git_server import GitServer

SHOWN = ("icon.png", "logo.png", "CHANGELOG.md", "DOCS.md", "README.md")
ROUTES = (
    "/addons/local_hello/icon",
    "/addons/local_hello/logo",
    "/store/addons/local_hello/icon",
    "/store/addons/local_hello/logo",
    "/store/addons/local_hello/changelog",
    "/store/addons/local_hello/documentation",
    "/store/addons/local_hello",
    "/store/addons/local_hello/1.0",
)

EXCHANGE = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
first, second = (path.encode() for path in sys.argv[1:3])
print("going", flush=True)
while True:
    if libc.renameat2(-100, first, -100, second, 2):
        sys.exit(f"errno {ctypes.get_errno()}")
"""
"""What an add-on runs: two names exchanged at once (RENAME_EXCHANGE), without end."""


@contextmanager
def exchanging(first: Path, second: Path) -> Iterator[None]:
    """The attacker's loop, in a process of its own, which goes on meanwhile."""
    with subprocess.Popen([sys.executable, "-c", EXCHANGE, first, second], stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None and attacker.stdout.readline() == b"going\n"
        try:
            yield
            assert attacker.poll() is None, "the attacker gave up"
        finally:
            attacker.kill()


# --- exchanged between look and reading -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("how", ["absolute", "relative"])
async def test_file_that_is_exchanged_with_a_link_never_gives_what_the_link_leads_to(
    here: Shop, name: str, how: str
) -> None:
    await here.offer({"hello/config.json": config(), **{f"hello/{shown}": "good" for shown in SHOWN}})
    folder = here.local / "hello"
    secret = here.data / "secret"
    (folder / "evil").symlink_to(secret if how == "absolute" else os.path.relpath(secret, folder))
    path = next(
        route
        for route in ROUTES
        if route.endswith(
            {"icon.png": "icon", "logo.png": "logo", "CHANGELOG.md": "changelog", "DOCS.md": "documentation"}.get(
                name, "local_hello"
            )
        )
    )

    with exchanging(folder / name, folder / "evil"):
        answers = [(await here.client.get(path)).text for _ in range(250)]

    assert not [text for text in answers if SECRET in text]
    assert {"good" in text for text in answers} == {True, False}, "the attack was no attack"


@pytest.mark.parametrize("place", ["hello", "hello/translations", "hello/translations/en.yaml"])
async def test_folder_that_is_exchanged_with_a_link_never_gives_what_is_there(home: House, place: str) -> None:
    good = "configuration: {word: {name: good word}}\n"
    await home.offer(files={"translations/en.yaml": good, "README.md": "good"})
    local = home.data / "apps" / "local"
    stolen = f"configuration: {{word: {{name: {SECRET}}}}}\n"
    write_files(home.data / "stolen", {"translations/en.yaml": stolen, "README.md": SECRET, "en.yaml": stolen})
    target = {"hello": "", "hello/translations": "translations", "hello/translations/en.yaml": "en.yaml"}[place]
    (local / "evil").symlink_to(home.data / "stolen" / target)

    with exchanging(local / place, local / "evil"):
        answers = [(await home.client.get(f"/addons/{HELLO}/info")).text for _ in range(200)]

    assert not [text for text in answers if SECRET in text]
    assert {"good word" in text for text in answers} == {True, False}, "the attack was no attack"


async def test_config_that_is_exchanged_with_a_link_never_is_what_the_link_leads_to(here: Shop) -> None:
    await here.offer({"hello/config.json": config()})
    stolen = config(description=SECRET)
    write_files(here.data / "stolen", {"config.json": stolen})
    (here.local / "hello" / "evil").symlink_to(here.data / "stolen" / "config.json")

    seen = set()
    with exchanging(here.local / "hello" / "config.json", here.local / "hello" / "evil"):
        for _ in range(40):
            await here.reload()
            seen.add(len(here.offered()))
            assert SECRET not in (await here.client.get("/store")).text

    assert seen == {0, 1}, "the attack was no attack"


# --- things that are no files -----------------------------------------------------------------------------------------


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero


def make_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 42)


ODD: Mapping[str, Callable[[Path], None]] = {
    "pipe": make_pipe,
    "device": make_device,
    "link to a device": make_link,
    "terabytes of nothing": make_huge,
}
needs_root = needs(os.geteuid() == 0, "needs root, to make a device")


@needs_root
@pytest.mark.parametrize("kind", ODD)
async def test_odd_things_in_place_of_every_file_hold_nobody_up(home: House, kind: str) -> None:
    names = (*SHOWN, "apparmor.txt", "translations/en.yaml")
    await home.offer("kept")
    await home.offer(files=dict.fromkeys(names, "x"))
    folder = home.data / "apps" / "local" / "hello"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in names:
        (folder / name).unlink()
        ODD[kind](folder / name)

    for _ in range(3):  # more than there are threads
        async with prompt():
            answers = await asyncio.gather(
                *(home.client.get(path) for path in (*ROUTES, f"/addons/{HELLO}/info", "/store"))
            )
        later = {503} if kind == "terabytes of nothing" else set()  # so many megabytes at once for one caller
        assert {answer.status for answer in answers} <= {200, 400} | later
    for name in ("config.json", "config.yaml", "../.gitattributes", "../repository.yaml"):
        (folder / name).unlink(missing_ok=True)
        ODD[kind](folder / name)
    async with prompt():
        assert (await home.client.post("/store/reload")).data == {}
        listed = (await home.client.get("/store")).data["addons"]

    assert [offer["slug"] for offer in listed] == ["local_kept"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # KiB, with what the client has


@needs_root
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["Dockerfile", "build.yaml", "apparmor.txt"])
async def test_odd_things_to_build_from_are_refused_at_once(home: House, kind: str, name: str) -> None:
    files = {"Dockerfile": "FROM x\n", "build.yaml": "{}", "apparmor.txt": "profile x {}\n"}
    await home.offer(files=files, config={"image": None})
    path = home.data / "apps" / "local" / "hello" / name
    path.unlink()
    ODD[kind](path)

    for _ in range(1 if name == "apparmor.txt" else 8):
        async with prompt():
            answer = await home.client.post(f"/store/addons/{HELLO}/install")
        if name != "apparmor.txt":
            assert answer.status == 400
            assert "Dockerfile" in answer.message or "build file" in answer.message
    async with prompt():
        assert (await home.client.get("/store")).status == 200


@pytest.mark.parametrize("name", ["Dockerfile", "build.yaml"])
async def test_what_is_built_from_and_leads_out_is_refused_by_name(home: House, name: str) -> None:
    await home.offer(files={"Dockerfile": "FROM x\n", "build.yaml": "{}"}, config={"image": None})
    path = home.data / "apps" / "local" / "hello" / name
    path.unlink()
    path.symlink_to("../../../secret")

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert answer.status == 400
    assert "leads out of its" in answer.message and SECRET not in answer.message


# --- git's own folder -------------------------------------------------------------------------------------------------


async def test_links_into_gits_own_folder_give_nothing_and_links_within_the_repository_do(
    here: Shop, git_server: GitServer
) -> None:
    link = "120000"
    repository = hostile(
        git_server,
        {
            "hello/config.json": config().encode(),
            "hello/CHANGELOG.md": (link, b"../.git/config"),
            "hello/DOCS.md": (link, b"../dot/config"),
            "dot": (link, b".git"),
            "hello/README.md": (link, b"../README.md"),
            "README.md": b"the readme of all",
            "stolen/config.yaml": (link, b"../.git/config"),
            "hello/icon.png": (link, b"../hello/../.git/HEAD"),
        },
    )
    assert (await here.add(repository.url)).data == {}
    (slug,) = here.offered()

    shown = [
        (await here.client.get(f"/store/addons/{slug}{what}")).text
        for what in ("", "/changelog", "/documentation", "/icon")
    ]

    assert "the readme of all" in shown[0]
    assert not [text for text in shown if "[core]" in text or "repositoryformatversion" in text or "refs/" in text]
    assert "No changelog" in shown[1] and "No documentation" in shown[2]


async def test_git_in_the_local_folder_is_never_asked(here: Shop, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    git_config = (
        f"[core]\n\tfsmonitor = touch {marker}\n\thooksPath = {tmp_path}\n[alias]\n\tstatus = !touch {marker}\n"
    )
    await here.offer({"hello/config.json": config(), ".git/config": git_config, ".git/HEAD": "ref: refs/heads/main\n"})

    await here.reload()
    await here.client.post("/store/repositories/local/repair")
    await here.client.post("/store/repositories", json={"repository": "local"})

    assert list(here.offered()) == ["local_hello"]
    assert not marker.exists()
