"""Single files of a vault: looked at, and brought back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rooftree.testing import check_step
from rooftree_backups_vault.put_back import PLACE, FetchFile, PutFileInPlace
from tests.plugins.backups_vault.vault_house import LAMP, VaultHouse, needs_restic, picture

pytestmark = needs_restic
FILES = "/kernel/v1/vaults/cellar/backups/0badcafe/parts/addon/local_lamp"


async def test_files_are_looked_at_folder_by_folder(house: VaultHouse) -> None:
    await house.back_up()

    top = (await house.client.get(f"{FILES}/entries")).data["entries"]
    data = (await house.client.get(f"{FILES}/entries?path=data")).data["entries"]
    sub = (await house.client.get(f"{FILES}/entries?path=data%2Fsub")).data["entries"]
    content = await house.client.get(f"{FILES}/file?path=data%2Fsub%2Fnote.txt")

    assert [entry["name"] for entry in top] == ["data"]
    assert {entry["name"]: entry["type"] for entry in data}["link"] == "link"
    assert {entry["name"]: entry["size_bytes"] for entry in sub} == {"deeper": 0, "note.txt": 11}
    assert content.text == "it was dark"


async def test_what_is_no_file_of_the_part_is_refused(house: VaultHouse) -> None:
    await house.back_up()

    for path in ["data/none", "data/sub", "none", "data/link", "../x", "/etc/passwd", "data/../../x"]:
        answer = await house.client.get(f"{FILES}/file?path={path.replace('/', '%2F')}")

        assert answer.status in {400, 404}, path
        assert answer.envelope["result"] == "error"


async def test_file_comes_back_and_what_is_there_now_stays_beside_it(house: VaultHouse) -> None:
    await house.back_up()
    folder = house.data / "apps/data/local_lamp"
    (folder / "sub/note.txt").write_text("it is light")
    body = {"path": "data/sub/note.txt"}

    plan = (await house.client.post(f"{FILES}/put-back?plan=1", json=body)).data
    answer = await house.client.post(f"{FILES}/put-back", json=body)

    assert answer.status == 200
    assert (folder / "sub/note.txt").read_text() == "it was dark"
    (aside,) = (folder / "sub").glob("note.txt.before-*")
    assert aside.read_text() == "it is light"
    assert any("is called note.txt.before-" in note for step in plan["steps"] for note in step["notes"])
    assert not list((house.data / PLACE).glob("*"))


async def test_folder_comes_back_also_where_nothing_is_left_of_it(house: VaultHouse) -> None:
    import shutil

    await house.back_up()
    folder = house.data / "apps/data/local_lamp"
    before = picture(folder / "sub" / "deeper")
    shutil.rmtree(folder / "sub")

    body = {"path": "data/sub/deeper"}
    answer = await house.client.post(f"{FILES}/put-back", json=body)

    assert answer.status == 200
    assert picture(folder / "sub" / "deeper") == before


async def test_what_can_not_be_brought_back_is_refused_and_changes_nothing(house: VaultHouse) -> None:
    await house.back_up()
    folder = house.data / "apps/data/local_lamp"
    before = picture(folder)

    for path in ["data", "", "none/x", "data/none", "addon.json"]:
        answer = await house.client.post(f"{FILES}/put-back", json={"path": path})

        assert answer.status in {400, 404}, path
        assert picture(folder) == before, path


async def test_link_in_the_way_leads_nobody_out(house: VaultHouse, tmp_path: Path) -> None:
    import shutil

    await house.back_up()
    folder = house.data / "apps/data/local_lamp"
    shutil.rmtree(folder / "sub")
    (folder / "sub").symlink_to(tmp_path)

    body = {"path": "data/sub/note.txt"}
    answer = await house.client.post(f"{FILES}/put-back", json=body)

    assert answer.status == 400
    assert not (tmp_path / "note.txt").exists()


async def test_each_step_can_be_taken_back_at_any_place(house: VaultHouse) -> None:
    await house.back_up()
    folder = house.data / "apps/data/local_lamp"
    (folder / "sub/note.txt").write_text("it is light")
    scratch = f"{PLACE}/trial"

    def pictures() -> object:
        return picture(folder), sorted(path.name for path in (house.data / PLACE).glob("*/*"))

    async def look() -> object:
        return await asyncio.to_thread(pictures)

    await check_step(house.system, FetchFile(scratch, "cellar", "0badcafe", LAMP, "data/sub/note.txt"), look)
    await check_step(
        house.system, PutFileInPlace(scratch, "apps/data/local_lamp/sub/note.txt", "note.txt.before-x"), look
    )
    assert (folder / "sub/note.txt").read_text() == "it was dark"
