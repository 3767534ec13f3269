"""What repositories may cost: they are strangers', and nothing of theirs may go on without end or take everything."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.repositories.hostile import (
    hostile,
    problems,
    prompt,
)
from tests.plugins.addons.house import HELLO, House
from tests.plugins.files.test_trees import make_deep, removed
from tests.plugins.store.shop import Shop, config
from tests.rig.git_server import GitServer
from tests.rig.pace import on_this_machine

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
    assert time.process_time() - spent < on_this_machine(0.5), "something goes on"


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
