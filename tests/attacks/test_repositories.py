"""What repositories and the local folder of add-ons can do to us: everything in them is a stranger's.

The local folder belongs to every add-on that has ``addons:rw``, at any moment; repositories come by git, as their
author made them. Nothing of ours may be read through them, nobody may be held up, and nothing may cost without end.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import secrets
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from pathlib import Path

import attrs
import orjson
import pytest

from rooftree.testing.containers import FakeContainerEngine
from tests.plugins.addons.house import HELLO, House, house
from tests.plugins.files.test_trees import make_deep, removed
from tests.plugins.store.shop import Shop, config, shop
from tests.requirements import needs
from tests.rig.files import write_files
from tests.rig.git_server import GitRepository, GitServer, serve_git

SECRET = "the-token-of-the-administrator"
PROMPT_S = 5.0
"""Within that everything is answered, on a machine that has other things to do as well."""
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

DESCRIPTION = (("repository.yaml", b"name: Hostile\n"),)

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


@pytest.fixture(scope="module")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A server of hostile repositories."""
    with serve_git(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop, with a secret beside it."""
    async with shop(tmp_path) as opened:
        await asyncio.to_thread((opened.data / "secret").write_text, SECRET)
        yield opened


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A house with add-ons, and a secret beside them."""
    async with house(tmp_path, FakeContainerEngine()) as opened:
        await asyncio.to_thread((opened.data / "secret").write_text, SECRET)
        yield opened


@asynccontextmanager
async def prompt() -> AsyncIterator[None]:
    """Fail the test unless what is in here is over soon."""
    async with asyncio.timeout(PROMPT_S):
        yield


type Files = Iterable[tuple[str, bytes | tuple[str, bytes]]]
"""Paths with contents, or with mode and content."""


def import_files(bare: Path, files: Files) -> None:
    """Put files into a repository as no working copy could have them."""
    with subprocess.Popen(["git", "-C", bare, "fast-import", "--quiet", "--force"], stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None
        importing.stdin.write(b"commit refs/heads/main\ncommitter A <a@example.com> 0 +0000\ndata 0\n\ndeleteall\n")
        for name, content in files:
            mode, data = content if isinstance(content, tuple) else ("100644", content)
            quoted = "".join(f"\\{byte:03o}" for byte in os.fsencode(name))
            importing.stdin.write(f'M {mode} inline "{quoted}"\ndata {len(data)}\n'.encode())
            importing.stdin.write(data + b"\n")
    assert importing.returncode == 0


def hostile(server: GitServer, files: Files | Mapping[str, bytes | tuple[str, bytes]]) -> GitRepository:
    """A repository on the server with those files and a description."""
    repository = server.repository(secrets.token_hex(4), {"x": ""})
    bare = server.served / f"{repository.folder.name}.git"
    given = files.items() if isinstance(files, Mapping) else files
    import_files(bare, chain(DESCRIPTION, given))
    return repository


async def problems(here: Shop | House) -> str:
    """Everything that is reported, as it is answered."""
    return orjson.dumps([attrs.asdict(problem) for problem in here.system.problems], default=str).decode()


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
odd = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=needs(os.geteuid() == 0, "needs root, to make a device")) for kind in ODD],
)


@odd
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


@odd
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


# --- what it may cost -------------------------------------------------------------------------------------------------

PACK_OF_TEXTS = 200
MOST_RESIDENT_KIB = 400_000
IN_A_PROCESS = """
import asyncio, json, sys
from pathlib import Path
from tests.plugins.store.shop import shop

def resident():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0])

async def main():
    async with shop(Path(sys.argv[1])) as here:
        idle = resident()
        answer = await here.add(sys.argv[2])
        for _ in range(3):
            listed = (await here.client.get("/store")).envelope["data"]["addons"]
        await asyncio.gather(*(here.client.get("/store/addons/" + each["slug"]) for each in listed[:10]))
        problem = here.problem("broken_addon_config")
        print(json.dumps({
            "result": answer.envelope["result"], "listed": len(listed), "idle": idle,
            "most": resident(),
            "problem": problem.message if problem else None,
        }))

asyncio.run(main())
"""


async def test_pack_of_megabytes_that_unfolds_into_gigabytes_of_texts_is_offered_as_far_as_it_goes(
    git_server: GitServer, tmp_path: Path
) -> None:
    def pack() -> Iterator[tuple[str, bytes]]:
        for number in range(PACK_OF_TEXTS):
            yield f"a{number}/config.json", config(f"a{number}", description="x" * 1_000_000).encode()
            yield f"a{number}/README.md", b"x" * 1_000_000

    repository = await asyncio.to_thread(hostile, git_server, pack())

    measured = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", IN_A_PROCESS, tmp_path, repository.url],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    told = json.loads(measured.stdout.splitlines()[-1])

    assert told["result"] == "ok"
    assert told["listed"] == 33
    assert "more than 32 MiB" in told["problem"]
    assert told["most"] < MOST_RESIDENT_KIB, told


async def test_thousands_of_translations_hold_up_nobody_else_and_nothing_goes_on_for_who_has_left(home: House) -> None:
    entries = "".join(f"  word{number}: {{name: Word}}\n" for number in range(80))
    await home.offer("other")
    await home.offer(files={f"translations/l{n}.yaml": f"configuration:\n{entries}" for n in range(3000)})
    folder = home.data / "apps" / "local" / "hello" / "translations"
    waits = []

    async def others() -> None:
        while True:
            began = time.monotonic()
            await asyncio.gather(
                home.client.get("/addons/local_other/info"), home.client.get("/store/addons/local_other/icon")
            )
            waits.append(time.monotonic() - began)
            await asyncio.sleep(0)

    asking = asyncio.create_task(others())
    for number in range(3):
        (folder / "l0.yaml").write_text(f"configuration: {{word: {{name: Word {number}}}}}\n")
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(home.client.get(f"/addons/{HELLO}/info") for _ in range(8)))
        assert {len(answer.data["translations"]) for answer in answers} == {100} or number
    leaving = []
    for number in range(8):
        (folder / "l0.yaml").write_text(f"configuration: {{word: {{name: Left {number}}}}}\n")
        leaving.append(asyncio.create_task(home.client.get(f"/addons/{HELLO}/info")))
        await asyncio.sleep(0.01)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    asking.cancel()
    await asyncio.wait({asking})
    await asyncio.sleep(0.5)
    spent = time.process_time()
    await asyncio.sleep(1)

    assert len(waits) > 5
    assert max(waits) < 2, waits
    assert time.process_time() - spent < 0.5, "something goes on"


async def test_tree_of_thousands_of_levels_in_the_local_folder_is_left_out_by_name(here: Shop) -> None:
    await here.offer({"zoo/config.json": config("zoo")})
    await asyncio.to_thread(make_deep, here.local / "deep", 3000)
    try:
        async with prompt():
            await here.reload()
        assert list(here.offered()) == ["local_zoo"]
        assert "deeper than 100" in await problems(here)
    finally:
        await asyncio.to_thread(removed, here.local / "deep")


async def test_tree_of_thousands_of_levels_by_git_is_refused_and_leaves_nothing(
    here: Shop, git_server: GitServer
) -> None:
    repository = hostile(git_server, {f"{'d/' * 3000}x": b"", "hello/config.json": config().encode()})

    answer = await here.add(repository.url)

    assert "folders within each other" in answer.message
    assert here.folders() == []


async def test_names_that_are_no_text_come_by_git_and_every_answer_is_one(here: Shop, git_server: GitServer) -> None:
    repository = hostile(
        git_server,
        {
            os.fsdecode(b"caf\xe9/config.json"): config("latin").encode(),
            os.fsdecode(b"\xff\xfe/config.json"): b"[",
            "esc\x1b[2J/config.json": config("escape").encode(),
            "esc\x1b[2J/CHANGELOG.md": b"news",
            "esc\x1b[2J/translations/" + os.fsdecode(b"\xe9.yaml"): b"{}",
            f"{'n' * 255}/config.json": config("long").encode(),
            "Hello/config.json": config("hello").encode(),
            "hello/config.json": config("hello").encode(),
            "new\nline/config.yaml": b"name: [",
        },
    )

    assert (await here.add(repository.url)).data == {}

    prefix = next(iter(here.store.addons)).partition("_")[0]
    assert set(here.offered()) == {f"{prefix}_{name}" for name in ("escape", "long", "hello")}
    for path in ("/store", "/store/addons", f"/store/addons/{prefix}_escape"):
        assert (await here.client.get(path)).status == 200
    assert (await here.client.get(f"/store/addons/{prefix}_escape/changelog")).text == "news"
    told = await problems(here)
    assert "no text (UTF-8)" in told and "\\u001b" not in told
    assert (await here.client.delete(f"/store/repositories/{prefix}")).data == {}
    assert here.folders() == []


async def test_texts_that_aliases_write_out_again_and_again_are_refused(here: Shop) -> None:
    options = "".join(f"  o{number}: *text\n" for number in range(5000))
    bomb = (
        'name: Bomb\nversion: "1"\nslug: bomb\narch: [amd64]\n'
        f"description: &text {'x' * 900_000}\noptions:\n{options}schema: false\n"
    )

    async with prompt():
        await here.offer({"bomb/config.yaml": bomb, "hello/config.json": config()})
        listed = await here.client.get("/store")

    assert len(listed.text) < 10_000
    assert "characters of text" in await problems(here)


async def test_thousands_of_config_files_that_lead_nowhere_are_told_briefly(here: Shop) -> None:
    def lay_out() -> None:
        for number in range(1_500):
            (here.local / f"a{number}").mkdir()
            for name in ("config.yaml", "config.yml", "config.json"):
                (here.local / f"a{number}" / name).symlink_to("nowhere")

    await asyncio.to_thread(lay_out)
    async with prompt():
        await here.reload()

    assert len(await problems(here)) < 50_000
