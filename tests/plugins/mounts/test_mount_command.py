"""``rooftree mount`` at the shell: what it shows, mounts, changes, removes and asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from rooftree.cli import questions, rooftree
from rooftree_mounts import commands
from tests.plugins.mounts.conftest import House, Shares

FILMS = ("add", "films", "//nas/films", "--usage", "media")
LOGIN = "username=ha\npassword=s3cret, with a comma\n"
PASSWORD = LOGIN.partition("password=")[2]


async def run(house: House, *arguments: str, answers: str | None = None) -> Result:
    """Run it, as it is installed."""
    words = ["mount", *arguments, "--socket", str(house.system.settings.kernel.socket)]
    return await asyncio.to_thread(CliRunner().invoke, rooftree, words, input=answers)


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "is_terminal", lambda: True)


def film_share(shares: Shares, *, login: bool = False) -> Path:
    share = shares.add("films")
    if login:
        share.with_name("films.login").write_text(LOGIN)
    return share


async def listed(house: House) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = json.loads((await run(house, "list", "--json")).stdout)["mounts"]
    return mounts


async def test_share_is_mounted_listed_reloaded_and_removed(house: House, shares: Shares) -> None:
    film_share(shares)
    added = await run(house, *FILMS, "--read-only")
    table = (await run(house, "list")).stdout.splitlines()
    (entry,) = await listed(house)
    reloaded = await run(house, "reload", "films")
    removed = await run(house, "remove", "films", "--yes")

    assert (added.exit_code, added.stdout, added.stderr) == (0, "", "The mount films is there, and answers.\n")
    assert table[0].split() == ["NAME", "WHAT", "USAGE", "STATE", "USED", "SIZE", "USED", "BY"]
    assert table[1].split()[:5] == ["films", "//nas/films", "media", "(read-only)", "active"]
    assert table[1].split()[6] == "GB" and entry["total_bytes"] >= entry["used_bytes"] > 0
    assert (entry["has_login"], entry["why_failed"], entry["used_by"]) == (False, None, [])
    assert (reloaded.exit_code, removed.exit_code) == (0, 0)
    assert await house.listed() == {} and await house.mounted() == []


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("nas:/volume/films", {"server": "nas", "path": "/volume/films"}),
        ("[2001:db8::7]:/volume/films", {"server": "2001:db8::7", "path": "/volume/films"}),
    ],
)
async def test_what_is_exported_by_nfs_is_named_as_for_mount(
    house: House, shares: Shares, source: str, keys: dict[str, str]
) -> None:
    shares.add("/volume/films", keys["server"])
    added = await run(house, "add", "films", source, "--usage", "share", "--json")

    assert added.exit_code == 0, added.output
    assert json.loads(added.stdout).items() >= {"type": "nfs", "state": "active", **keys}.items()
    assert source in (await run(house, "list")).stdout


@pytest.mark.usefixtures("at_a_terminal")
async def test_password_is_asked_for_at_a_terminal_and_shown_nowhere(house: House, shares: Shares) -> None:
    film_share(shares, login=True)
    added = await run(house, *FILMS, "--username", "ha", answers=PASSWORD)

    assert added.exit_code == 0, added.output
    assert PASSWORD.strip() not in added.output + (await run(house, "list", "--json")).stdout
    assert (await listed(house))[0]["has_login"] is True


@pytest.mark.parametrize("name", ["-", "FILE"])
async def test_password_is_read_from_a_file_or_standard_input(
    house: House, shares: Shares, tmp_path: Path, name: str
) -> None:
    film_share(shares, login=True)
    (tmp_path / "password").write_text(PASSWORD)
    place = str(tmp_path / "password") if name == "FILE" else name
    added = await run(house, *FILMS, "--username", "ha", "--password-file", place, answers=PASSWORD)

    assert added.exit_code == 0, added.output
    assert (await house.listed())["films"]["state"] == "active"


async def test_update_changes_what_is_said_and_keeps_the_rest(house: House, shares: Shares) -> None:
    shares.add("volume", "nas")
    shares.add("volume", "attic")
    await run(house, "add", "films", "//nas/volume", "--usage", "media", "--port", "4455")
    updated = await run(house, "update", "films", "--read-only")
    kept = (await house.listed())["films"]
    moved = await run(house, "update", "films", "//attic/volume", "--usage", "share")
    after = (await house.listed())["films"]

    assert updated.exit_code == 0, updated.output
    assert (kept["server"], kept["port"], kept["read_only"], kept["usage"]) == ("nas", 4455, True, "media")
    assert moved.exit_code == 0, moved.output
    assert (after["server"], "port" in after, after["read_only"], after["usage"]) == ("attic", False, True, "share")


async def test_update_never_drops_a_login_that_nobody_spoke_of(house: House, shares: Shares) -> None:
    share = film_share(shares, login=True)
    await run(house, *FILMS, "--username", "ha", "--password-file", "-", answers=PASSWORD)
    silent = await run(house, "update", "films", "--read-only")
    again = await run(
        house, "update", "films", "--read-only", "--username", "ha", "--password-file", "-", answers=PASSWORD
    )
    share.with_name("films.login").unlink()
    guest = await run(house, "update", "films", "--guest")

    assert (silent.exit_code, "films logs in" in silent.output) == (2, True)
    assert (again.exit_code, guest.exit_code) == (0, 0), again.output + guest.output
    assert [order["options"][-1] for order in shares.asked()][-1] == "guest"


async def test_removal_names_who_uses_it_and_asks(house: House, shares: Shares) -> None:
    film_share(shares)
    await run(house, "add", "films", "//nas/films", "--usage", "backup")
    plan = await run(house, "remove", "films", "--plan")
    refused = await run(house, "remove", "films", answers="n\n")
    there = await house.listed()
    agreed = await run(house, "remove", "films", answers="y\n")

    sentence = "Backups go to films by default; they go to the data folder then"
    assert sentence in plan.stdout and "Unmount it, whoever uses it. It is away meanwhile." in plan.stdout
    assert sentence in refused.output and refused.exit_code == 1 and "films" in there
    assert agreed.exit_code == 0 and await house.listed() == {}


async def test_place_of_backups_is_said_and_chosen(house: House, shares: Shares) -> None:
    film_share(shares)
    first = await run(house, "default")
    await run(house, "add", "films", "//nas/films", "--usage", "backup")
    second = await run(house, "default")
    marked = (await run(house, "list")).stdout
    back = await run(house, "default", ".local", "--json")
    unknown = await run(house, "default", "nobody")

    assert (first.stdout, second.stdout) == (".local\n", "films\n")
    assert "films *" in marked
    assert json.loads(back.stdout) == {"default_backup_mount": None}
    assert unknown.exit_code == 1 and "There is no mount nobody" in unknown.output


async def test_share_that_fails_is_said_with_its_reason_and_not_kept(house: House) -> None:
    added = await run(house, *FILMS)

    assert added.exit_code == 1
    assert "films could not be mounted: mount error(2): No such file or directory" in added.output
    assert await listed(house) == []


async def test_plan_mounts_nothing(house: House, shares: Shares) -> None:
    film_share(shares)
    plan = await run(house, *FILMS, "--plan")

    assert (plan.exit_code, "Mount it, and have it answer" in plan.stdout) == (0, True)
    assert await house.listed() == {} and shares.asked() == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("add", "films", "films", "--usage", "media"), "must be //server/share, server:/path"),
        (("add", "films", "//nas", "--usage", "media"), "must be //server/share, server:/path"),
        (("add", "films", "nas:films", "--usage", "media"), "must be //server/share, server:/path"),
        ((*FILMS, "--username", "ha"), "nobody is there to be asked"),
        ((*FILMS, "--password-file", "-"), "belongs to a --username"),
        ((*FILMS, "--password", "secret"), "No such option"),
        (("add", "films", "//nas/films"), "--usage"),
    ],
)
async def test_what_can_not_be_meant_is_said_here(house: House, arguments: tuple[str, ...], sentence: str) -> None:
    result = await run(house, *arguments)

    assert (result.exit_code, sentence in result.output) == (2, True), result.output


async def test_mount_that_is_not_there_is_said_with_those_that_are(house: House, shares: Shares) -> None:
    none = await run(house, "update", "music", "--read-only")
    film_share(shares)
    await run(house, *FILMS)
    other = await run(house, "remove", "music")

    assert "There is no mount music; there are none" in none.output
    assert (other.exit_code, "There is no mount music; there are films" in other.output) == (1, True)


@given(st.text(st.characters(exclude_characters="/\\", exclude_categories=["Cs"]), min_size=1), st.text(min_size=1))
def test_any_source_is_told_or_refused_and_never_taken_apart_wrongly(server: str, path: str) -> None:
    what = commands.source_keys(f"//{server}/{path}") if path.strip("/\\") else None

    if what is not None:
        assert (what["type"], what["server"]) == ("cifs", server)
        assert what["share"] == path.replace("\\", "/").rstrip("/")
