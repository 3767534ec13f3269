"""Mounting by mount(8), where there is no systemd: created, replaced, removed, and what is in the way."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.mounts import MountsChanged
from rooftree_mounts import mount_program
from rooftree_mounts.configuration import MountConfig
from rooftree_mounts.host_mounts import HostMounts
from rooftree_mounts.orders import order_of
from rooftree_mounts.upkeep import Upkeep
from tests.plugins.mounts.conftest import House, Shares, house_in

CIFS = {"type": "cifs", "usage": "media", "server": "nas", "share": "films"}
NFS = {"type": "nfs", "usage": "share", "server": "nas", "path": "/volume/films"}
BACKUP = {"type": "cifs", "usage": "backup", "server": "nas", "share": "films"}
LOGIN = {"username": "ha", "password": "pa,ss wörd"}


async def test_share_is_mounted_and_shown_to_add_ons(house: House, shares: Shares) -> None:
    shares.add("films")

    answer = await house.create("films", **CIFS)

    assert answer.status == 200, answer.body
    assert await house.mounted() == ["media/films", "mounts/films"]
    assert (house.data / "media" / "films" / "hello.txt").read_text() == "hello from the share\n"
    assert await house.listed() == {
        "films": {
            "name": "films", "type": "cifs", "usage": "media", "server": "nas", "share": "films", "version": None,
            "read_only": False, "state": "active", "user_path": "/media/films",
        }
    }  # fmt: skip


async def test_nfs_is_mounted_with_the_options_of_the_reference_and_nothing_of_it_is_a_device(
    house: House, shares: Shares
) -> None:
    shares.add("/volume/films")

    assert (await house.create("films", **NFS, port=2049)).status == 200

    (asked,) = shares.asked()
    assert asked["source"] == "nas:/volume/films"
    assert asked["options"] == ["nosuid", "nodev", "port=2049", "softerr", "timeo=100", "retrans=2"]


@pytest.mark.parametrize(
    ("more", "options"),
    [
        ({}, ["nosuid", "nodev", "noserverino", "soft", "echo_interval=10", "guest"]),
        (
            {"version": "1.0", "port": 1445, "read_only": True},
            ["nosuid", "nodev", "ro", "port=1445", "noserverino", "soft", "echo_interval=10", "vers=1.0",
             "guest"],
        ),
    ],
)  # fmt: skip
async def test_cifs_is_mounted_with_the_options_of_the_reference(
    house: House, shares: Shares, more: dict[str, Any], options: list[str]
) -> None:
    shares.add("films")

    assert (await house.create("films", **CIFS, **more)).status == 200

    (asked,) = shares.asked()
    assert asked["source"] == "//nas/films"
    assert [option for option in asked["options"] if option != "retrans=0"] == options


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ("6.18.44-fc-v857", True),
        ("6.12.1", True),
        ("7.0.0-rc1", True),
        ("6.1.0-27-amd64", False),
        ("6.6.31+rpt-rpi-v8", False),
        ("5.15.0", False),
        ("6.12-rc3", True),
        ("strange", False),
    ],
)
def test_cifs_is_told_how_often_to_ask_only_where_the_kernel_knows_that(kernel: str, said: bool) -> None:
    config = MountConfig(type="cifs", usage="media", server="nas", share="films")

    assert ("retrans=0" in order_of(config, kernel=kernel).options) is said


async def test_address_of_the_sixth_version_is_written_as_each_of_them_wants_it(house: House, shares: Shares) -> None:
    shares.add("films", "2001:db8::1")

    assert (await house.create("one", **{**CIFS, "server": "2001:db8::1"})).status == 200
    assert (await house.create("two", **{**NFS, "server": "[2001:db8::1]", "path": "films"})).status == 200

    assert [asked["source"] for asked in shares.asked()] == ["//2001:db8::1/films", "[2001:db8::1]:films"]


async def test_credentials_are_in_a_file_for_root_only_while_it_is_mounted_and_nowhere_else(
    house: House, shares: Shares
) -> None:
    share = shares.add("films")
    share.with_name("films.login").write_text("username=ha\npassword=pa,ss wörd\n")

    answer = await house.create("films", **CIFS, **LOGIN)

    assert answer.status == 200, answer.body
    (asked,) = shares.asked()
    assert asked["mode"] == "600"
    assert list((house.data / ".mounts_credentials").iterdir()) == []
    told = json.dumps(asked["options"]) + answer.body.decode() + (await house.client.get("/mounts")).body.decode()
    assert LOGIN["password"] not in told


async def test_wrong_password_is_told_and_nothing_is_kept(house: House, shares: Shares) -> None:
    share = shares.add("films")
    share.with_name("films.login").write_text("username=ha\npassword=another\n")

    answer = await house.create("films", **CIFS, **LOGIN)

    assert (answer.status, answer.envelope["error_key"]) == (400, "mount_activation_error")
    assert "Permission denied" in answer.message
    assert await house.listed() == {}
    assert await house.mounted() == []
    assert sorted(path.name for path in house.data.glob("m*/*")) == []
    assert list((house.data / ".mounts_credentials").iterdir()) == []
    assert await house.issues() == []


async def test_share_that_can_only_be_read_is_mounted_so(house: House, shares: Shares) -> None:
    shares.add("films")

    assert (await house.create("films", **CIFS, read_only=True)).status == 200

    with pytest.raises(OSError, match="Read-only") as refused:
        (house.data / "media" / "films" / "new.txt").touch()
    assert refused.value.errno == errno.EROFS


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "../etc"}, {"name": "a/b"}, {"name": ""}, {"name": "films\n"}, {"name": 5}, {"name": "x" * 65},
        {"server": "/nas"}, {"server": "\\\\nas"}, {"server": "nas,uid=0"}, {"server": "nas\nOptions=suid"},
        {"server": "-t"}, {"server": ""}, {"server": None}, {"server": "nas:445"}, {"server": "nas/../../etc"},
        {"share": "/films"}, {"share": "\\films"}, {"share": "films\x00"}, {"share": "a\nb"}, {"share": ""},
        {"port": 0}, {"port": 70000}, {"port": "445"}, {"port": True}, {"version": "3.0,suid"}, {"version": 1.0},
        {"type": "sshfs"}, {"usage": "etc"}, {"username": "ha"}, {"password": "x"},
        {"username": "ha", "password": "x\nusername=root"}, {"username": "h\na", "password": "x"},
        {"username": "ha", "password": ""}, {"username": "", "password": "x"}, {"path": "/films"}, {"colour": "red"},
        {"usage": "backup", "read_only": True}, {"read_only": "yes"}, {"uuid": "1234"}, {"device": "/dev/sda1"},
    ],
)  # fmt: skip
async def test_hostile_names_servers_and_options_are_refused_before_anything_is_done(
    house: House, shares: Shares, keys: dict[str, Any]
) -> None:
    shares.add("films")

    answer = await house.client.post("/mounts", json={"name": "films", **CIFS, **keys})

    assert answer.status == 400, answer.body
    assert shares.asked() == []
    assert await house.mounted() == []


@pytest.mark.parametrize(
    "keys",
    [
        {"type": "disk", "usage": "media"}, {"type": "disk", "usage": "media", "device": "/etc/passwd"},
        {"type": "disk", "usage": "media", "device": "/dev/../etc/passwd"}, {"type": "disk", "device": "sda1"},
        {"type": "disk", "usage": "media", "uuid": "../../x"}, {"type": "disk", "usage": "media", "device": "LABEL="},
        {"type": "nfs", "usage": "media", "server": "nas"}, {"type": "nfs", "usage": "media", "path": "/films"},
        {"type": "nfs", "usage": "media", "server": "nas", "path": "/films\n"}, {"usage": "media"}, {},
    ],
)  # fmt: skip
async def test_configuration_that_is_none_is_refused(house: House, keys: dict[str, Any]) -> None:
    assert (await house.client.post("/mounts", json={"name": "films", **keys})).status == 400


async def test_what_only_answers_have_may_come_back(house: House, shares: Shares) -> None:
    shares.add("films")

    assert (await house.create("films", **CIFS, state="active", user_path="/media/films")).status == 200


async def test_name_that_is_taken_is_refused(house: House, shares: Shares) -> None:
    shares.add("films")
    await house.create("films", **CIFS)

    answer = await house.create("films", **CIFS)

    assert answer.status == 400
    assert "films already" in answer.message


@pytest.mark.parametrize("place", ["media", "mounts"])
async def test_data_in_the_way_is_neither_hidden_nor_touched(house: House, shares: Shares, place: str) -> None:
    shares.add("films")
    (house.data / place / "films").mkdir(parents=True)
    (house.data / place / "films" / "mine.txt").write_text("mine")

    answer = await house.create("films", **CIFS)

    assert (answer.status, answer.envelope["error_key"]) == (400, "mount_target_not_empty_error")
    assert answer.envelope["extra_fields"] == {"name": "films", "path": str(house.data / place / "films")}
    assert shares.asked() == []
    assert (house.data / place / "films" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "link", "link to nothing"])
async def test_what_is_no_folder_is_in_the_way(house: House, shares: Shares, kind: str, tmp_path: Path) -> None:
    shares.add("films")
    target = house.data / "media" / "films"
    if kind == "file":
        target.touch()
    else:
        target.symlink_to(tmp_path if kind == "link" else "nothing")

    answer = await house.create("films", **CIFS)

    assert (answer.status, answer.envelope["error_key"]) == (400, "mount_target_not_directory_error")
    assert await house.mounted() == []
    assert target.is_symlink() or target.is_file()


async def test_folder_that_was_there_before_stays_when_the_mount_fails(house: House, shares: Shares) -> None:
    target = house.data / "media" / "films"
    target.mkdir()

    assert (await house.create("films", **CIFS)).status == 400

    (target / "new.txt").touch()


async def test_nobody_can_write_below_a_mount_nor_replace_its_folder(house: House, shares: Shares) -> None:
    shares.add("films")
    await house.create("films", **CIFS)
    for place in ("media/films", "mounts/films"):
        subprocess.run(["umount", "--lazy", house.data / place], check=True)

        with pytest.raises(PermissionError):
            (house.data / place / "new.txt").touch()
        with pytest.raises(PermissionError):
            (house.data / place).rmdir()
        with pytest.raises(PermissionError):
            (house.data / place).rename(house.data / "elsewhere")


async def test_mount_that_somebody_takes_away_comes_back_by_itself(house: House, shares: Shares) -> None:
    shares.add("films")
    await house.create("films", **CIFS)
    await house.becomes("films", "active")

    subprocess.run(["umount", "--lazy", house.data / "mounts" / "films"], check=True)

    async with asyncio.timeout(20):
        while await house.mounted() != ["media/films", "mounts/films"]:
            await asyncio.sleep(0.05)
    assert (house.data / "media" / "films" / "hello.txt").exists()


async def test_mount_that_is_taken_away_while_it_is_visited_comes_back(
    house: House, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares.add("films")
    visit, note_changes = HostMounts.visit, Upkeep._note_changes
    lost, noted = asyncio.Event(), asyncio.Event()

    async def visit_and_lose(mounts: HostMounts, name: str) -> bool | None:
        works = await visit(mounts, name)
        if works and not lost.is_set():
            lost.set()
            words = ["umount", "--lazy", house.data / "mounts" / "films"]
            await asyncio.to_thread(subprocess.run, words, check=True)
            await noted.wait()
        return works

    async def note(upkeep: Upkeep) -> None:
        await note_changes(upkeep)
        if lost.is_set():
            noted.set()

    monkeypatch.setattr(HostMounts, "visit", visit_and_lose)
    monkeypatch.setattr(Upkeep, "_note_changes", note)
    await house.create("films", **CIFS)
    await noted.wait()

    async with asyncio.timeout(20):
        while await house.mounted() != ["media/films", "mounts/films"]:
            await asyncio.sleep(0.05)


async def test_first_backup_mount_is_the_default_and_the_second_is_not(house: House, shares: Shares) -> None:
    shares.add("films")

    assert (await house.create("first", **BACKUP)).status == 200
    assert (await house.create("second", **BACKUP)).status == 200

    assert await house.default() == "first"
    assert (await house.listed())["first"]["user_path"] is None
    assert await house.mounted() == ["mounts/first", "mounts/second"]


async def test_update_keeps_the_default_for_backups(house: House, shares: Shares) -> None:
    shares.add("films")
    shares.add("others")
    await house.create("first", **BACKUP)

    assert (await house.update("first", **{**BACKUP, "share": "others"})).status == 200

    assert await house.default() == "first"


async def test_update_to_another_usage_moves_it_and_is_no_default_any_more(house: House, shares: Shares) -> None:
    shares.add("films")
    await house.create("first", **BACKUP)

    assert (await house.update("first", **{**BACKUP, "usage": "share"})).status == 200
    assert await house.mounted() == ["mounts/first", "share/first"]
    assert await house.default() is None
    assert (await house.update("first", **{**BACKUP, "usage": "media"})).status == 200

    assert await house.mounted() == ["media/first", "mounts/first"]
    assert not (house.data / "share" / "first").exists()


async def test_update_that_does_not_work_leaves_the_old_one_in_use_all_the_time(house: House, shares: Shares) -> None:
    shares.add("films")
    await house.create("films", **CIFS)
    heard: list[MountsChanged] = []
    house.system.bus.subscribe(MountsChanged, heard.append, "test")
    open_file = (house.data / "media" / "films" / "hello.txt").open()

    answer = await house.update("films", **{**CIFS, "share": "gone"})

    assert (answer.status, answer.envelope["error_key"]) == (400, "mount_activation_error")
    assert "No such file" in answer.message
    assert (await house.listed())["films"]["share"] == "films"
    assert await house.mounted() == ["media/films", "mounts/films"]
    assert open_file.read() == (house.data / "media" / "films" / "hello.txt").read_text()
    assert heard == []
    assert [asked["source"] for asked in shares.asked()] == ["//nas/films", "//nas/gone"]  # the old one not once more
    assert [path.name for path in (house.data / "mounts").iterdir()] == ["films"]
    open_file.close()


async def test_update_shows_the_new_share_in_place_of_the_old(house: House, shares: Shares) -> None:
    shares.add("films")
    (shares.add("others") / "other.txt").touch()
    await house.create("films", **CIFS)

    assert (await house.update("films", name="films", **{**CIFS, "share": "others"})).status == 200

    assert (house.data / "media" / "films" / "other.txt").exists()
    assert await house.mounted() == ["media/films", "mounts/films"]


async def test_name_cannot_be_changed_and_what_is_not_there_cannot_be_replaced(house: House, shares: Shares) -> None:
    shares.add("films")
    await house.create("films", **CIFS)

    assert (await house.update("films", name="other", **CIFS)).status == 400
    assert (await house.update("gone", **CIFS)).status == 404
    assert (await house.remove("gone")).status == 404
    assert (await house.client.post("/mounts/gone/reload")).status == 404


async def test_remove_leaves_nothing_and_frees_the_name(house: House, shares: Shares) -> None:
    shares.add("films")
    await house.create("films", **BACKUP)

    assert (await house.remove("films")).status == 200

    assert await house.mounted() == []
    assert await house.default() is None
    assert await house.listed() == {}
    assert list((house.data / "mounts").iterdir()) == []
    assert (await house.create("films", **CIFS)).status == 200


async def test_plan_of_a_removal_names_who_uses_the_mount(house: House, shares: Shares) -> None:
    shares.add("films")
    await house.create("films", **BACKUP)

    plan = (await house.remove("films", "?plan=1")).data

    assert plan["steps"][0]["notes"] == ["Backups go to films by default; they go to the data folder then"]
    assert await house.mounted() == ["mounts/films"]


async def test_plan_of_a_creation_mounts_nothing(house: House, shares: Shares) -> None:
    shares.add("films")

    plan = await house.client.post("/mounts?plan=1", json={"name": "films", **CIFS, **LOGIN})

    assert [step["kind"] for step in plan.data["steps"]][-1] == "mounts.save/1"
    assert LOGIN["password"] not in plan.body.decode()
    assert shares.asked() == []


async def test_mounts_stay_over_a_restart_and_those_that_are_missing_are_mounted_after_it(
    tmp_path: Path, shares: Shares
) -> None:
    shares.add("films")
    async with house_in(tmp_path) as house:
        await house.create("stays", **CIFS)
        await house.create("goes", **CIFS)
    assert await house.mounted() == ["media/goes", "media/stays", "mounts/goes", "mounts/stays"]
    for place in ("media/goes", "mounts/goes"):
        subprocess.run(["umount", "--lazy", house.data / place], check=True)
    count = len(shares.asked())

    async with house_in(tmp_path) as house:
        await house.becomes("stays", "active")
        await house.becomes("goes", "active")
        assert await house.mounted() == ["media/goes", "media/stays", "mounts/goes", "mounts/stays"]

    assert len(shares.asked()) == count + 1


async def test_credentials_that_a_kill_has_left_are_gone_after_the_start(tmp_path: Path, shares: Shares) -> None:
    async with house_in(tmp_path) as house:
        left = house.data / ".mounts_credentials" / "films"
        left.parent.mkdir(exist_ok=True)
        left.write_text("username=ha\npassword=x\n")

    async with house_in(tmp_path):
        assert not left.exists()


async def test_restored_mounts_are_mounted_and_replace_what_was_mounted(house: House, shares: Shares) -> None:
    shares.add("films")
    (shares.add("others") / "other.txt").touch()
    await house.create("films", **CIFS)
    await house.becomes("films", "active")

    records = {"mounts": [{**CIFS, "name": "films", "share": "others"}, {**BACKUP, "name": "nas"}]}
    assert await house.mounts.restore({**records, "default_backup_mount": "nas"}) == ()

    async with asyncio.timeout(20):
        while not (house.data / "media" / "films" / "other.txt").exists():
            await asyncio.sleep(0.05)
    await house.becomes("nas", "active")
    assert await house.default() == "nas"


async def test_restored_mount_whose_server_is_gone_is_a_problem_and_works_when_it_is_back(
    house: House, shares: Shares
) -> None:
    await house.mounts.restore({"mounts": [{**CIFS, "name": "films"}]})
    await house.becomes("films", "failed")

    assert await house.issues() == [("mount_failed", "films")]
    assert set(await house.suggestions("films")) == {"execute_reload", "execute_remove"}
    failed = await house.client.post("/mounts/films/reload")
    assert (failed.status, failed.envelope["error_key"]) == (400, "mount_reload_error")
    shares.add("films")
    assert (await house.apply("films", "execute_reload")).status == 200

    assert (await house.listed())["films"]["state"] == "active"
    assert await house.issues() == []


async def test_mount_that_does_not_work_is_removed_when_that_is_wanted(house: House, shares: Shares) -> None:
    await house.mounts.restore({"mounts": [{**CIFS, "name": "films"}]})
    await house.becomes("films", "failed")

    assert (await house.apply("films", "execute_remove")).status == 200

    assert await house.listed() == {}
    assert await house.issues() == []
    assert not (house.data / "media" / "films").exists()


async def test_local_data_in_the_way_of_a_kept_mount_is_moved_aside_when_that_is_wanted(
    house: House, shares: Shares
) -> None:
    shares.add("films")
    for place in ("media", "mounts"):
        (house.data / place / "films").mkdir(parents=True)
        (house.data / place / "films" / "mine.txt").write_text(place)
    (house.data / "media" / "films_local_recovery").mkdir()
    await house.mounts.restore({"mounts": [{**CIFS, "name": "films"}]})
    await house.becomes("films", "failed")
    assert set(await house.suggestions("films")) == {"execute_reload", "execute_remove", "move_local_data"}

    assert (await house.apply("films", "move_local_data")).status == 200

    assert (house.data / "media" / "films_local_recovery_2" / "mine.txt").read_text() == "media"
    assert (house.data / "media" / "films_local_recovery_2" / "mounts" / "mine.txt").read_text() == "mounts"
    assert await house.mounted() == ["media/films", "mounts/films"]
    assert await house.issues() == []


async def test_local_data_of_a_backup_mount_goes_to_the_backups(house: House, shares: Shares) -> None:
    shares.add("films")
    (house.data / "mounts" / "nas").mkdir(parents=True)
    (house.data / "mounts" / "nas" / "old.tar").touch()
    await house.mounts.restore({"mounts": [{**BACKUP, "name": "nas"}]})
    await house.becomes("nas", "failed")

    assert (await house.apply("nas", "move_local_data")).status == 200

    assert (house.data / "backup" / "nas_local_recovery" / "old.tar").exists()


async def test_link_that_an_add_on_puts_in_the_way_leads_nothing_astray(
    house: House, shares: Shares, tmp_path: Path
) -> None:
    shares.add("films")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    await house.mounts.restore({"mounts": [{**CIFS, "name": "films"}]})
    (house.data / "media" / "films").symlink_to(elsewhere)

    await house.becomes("films", "failed")
    assert (await house.apply("films", "move_local_data")).status == 200

    assert list(elsewhere.iterdir()) == []
    assert (house.data / "media" / "films_local_recovery").is_symlink()
    assert await house.mounted() == ["media/films", "mounts/films"]


async def test_folder_that_is_replaced_while_it_is_mounted_on_is_the_one_that_was_looked_at(
    house: House, shares: Shares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system knows no immutable folders, an add-on may replace one at any moment."""
    monkeypatch.setattr("rooftree_mounts.places.set_immutable", lambda *_: False)
    shares.add("films")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    opened = mount_program.MountProgram._open

    def open_then_replaced(program: mount_program.MountProgram, place: str) -> int:
        descriptor = opened(program, place)
        if place == "media/films":
            (house.data / place).rename(house.data / "media" / "moved")
            (house.data / place).symlink_to(elsewhere)
        return descriptor

    monkeypatch.setattr(mount_program.MountProgram, "_open", open_then_replaced)
    monkeypatch.setattr("rooftree_mounts.looking.APPEARS_S", 0.2)

    answer = await house.create("films", **CIFS)

    assert answer.status == 400
    assert list(elsewhere.iterdir()) == []
    assert "elsewhere" not in str(await house.mounted())


async def test_disk_usage_of_a_mount_is_that_of_its_folders(house: House, shares: Shares) -> None:
    share = shares.add("films")
    (share / "westerns" / "old").mkdir(parents=True)
    (share / "westerns" / "old" / "long.mkv").write_bytes(bytes(3_000_000))
    await house.create("films", **CIFS)

    flat = (await house.client.get("/host/disks/films/usage")).data
    tree = (await house.client.get("/host/disks/films/usage?max_depth=2")).data

    assert set(flat) == {"id", "label", "used_bytes", "total_bytes"}
    assert flat["total_bytes"] > flat["used_bytes"] > 0
    assert [child["id"] for child in tree["children"]] == ["westerns", "other"]
    assert 3_000_000 <= tree["children"][0]["used_bytes"] < 3_100_000
    assert [child["id"] for child in tree["children"][0]["children"]] == ["old"]


async def test_disk_usage_of_what_is_not_mounted_is_refused_by_its_key(house: House, shares: Shares) -> None:
    await house.mounts.restore({"mounts": [{**CIFS, "name": "films"}]})
    await house.becomes("films", "failed")

    inactive = await house.client.get("/host/disks/films/usage")
    unknown = await house.client.get("/host/disks/gone/usage")

    assert (inactive.status, inactive.envelope["error_key"]) == (400, "mount_usage_not_active_error")
    assert (unknown.status, unknown.envelope["error_key"]) == (404, "mount_not_found_error")
    assert unknown.envelope["extra_fields"] == {"name": "gone"}


async def test_disk_usage_of_the_data_folder_does_not_look_at_mounts(house: House, shares: Shares) -> None:
    share = shares.add("films", dies=True)
    assert (await house.create("films", **CIFS)).status == 200
    await house.becomes("films", "active")
    shares.signal(share, signal.SIGUSR1)

    async with asyncio.timeout(5):
        usage = (await house.client.get("/host/disks/default/usage?max_depth=3")).data

    assert "media" in {child["id"] for child in usage["children"]}


async def test_machine_that_lacks_the_program_for_it_is_told_what_to_install(
    tmp_path: Path, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bare" / "mount"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho \"mount: /x: unknown filesystem type 'cifs'.\" >&2\nexit 32\n")
    program.chmod(0o755)
    async with house_in(tmp_path) as house:
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        answer = await house.create("films", type="cifs", usage="media", server="nas", share="films")

    assert answer.status == 400
    assert "the package is called cifs-utils" in answer.message
