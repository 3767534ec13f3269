"""Vaults: where they may lie, the keys that open them, and the kit with which their owner gets at them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import Principal, Role, Secret
from rooftree.interfaces.backups import BackupLocationChanged
from rooftree.interfaces.vaults import VaultAccess, VaultRefused
from rooftree.testing import token_for
from rooftree_backups_vault import restic
from rooftree_backups_vault.places import without_password
from rooftree_backups_vault.recovery_kit import key_in
from rooftree_backups_vault.restic_process import reason
from rooftree_backups_vault.upkeep import make_room_everywhere
from tests.plugins.backups_vault.vault_house import KEY, VaultHouse, needs_restic

pytestmark = needs_restic


async def take_up(house: VaultHouse, name: str, empty_vault: Path) -> None:
    """Another vault of the house, in a moment: to make one is dear."""
    await asyncio.to_thread(shutil.copytree, empty_vault, house.data / "vaults" / name)
    body = {"name": name, "place": "local", "existing": True, "key": KEY}
    answer = await house.client.post("/kernel/v1/vaults", json=body)
    assert answer.status == 200, answer.text


async def test_vault_is_made_with_a_key_that_its_kit_has(house: VaultHouse) -> None:
    made = (await house.client.post("/kernel/v1/vaults", json={"name": "loft", "place": "local"})).data

    key = key_in(made["recovery_kit"])
    assert key is not None and len(key) == 55
    answer = await house.client.post("/kernel/v1/vaults/loft/check", json={"key": key})
    assert answer.status == 200
    wrong = await house.client.post("/kernel/v1/vaults/loft/check", json={"key": KEY})
    assert (wrong.status, wrong.envelope["error_key"]) == (400, "vault_key_error")
    assert made["vault"]["place"] == "local"


async def test_kit_tells_how_to_get_at_the_backups_by_hand_and_that_works(house: VaultHouse) -> None:
    await house.back_up()
    kit = (await house.client.get("/kernel/v1/vaults/cellar/recovery-kit")).data["recovery_kit"]

    exports = [line.strip() for line in kit.splitlines() if line.strip().startswith("export ")]
    script = "\n".join(line.replace("the key above", key_in(kit) or "") for line in exports) + "\nrestic snapshots"
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True,
                           env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})  # fmt: skip
    assert "2 snapshots" in shown.stdout


async def test_one_that_is_there_is_taken_up_with_its_key_only(house: VaultHouse) -> None:
    await house.client.delete("/kernel/v1/vaults/cellar")

    body = {"name": "cellar", "place": "local"}
    over = await house.client.post("/kernel/v1/vaults", json=body)
    keyless = await house.client.post("/kernel/v1/vaults", json={**body, "existing": True})
    wrong = await house.client.post("/kernel/v1/vaults", json={**body, "existing": True, "key": "no"})
    nowhere = await house.client.post("/kernel/v1/vaults", json={**body, "name": "x", "existing": True, "key": KEY})

    assert (over.status, over.envelope["error_key"]) == (409, "vault_exists_error")
    assert (keyless.status, "key is missing" in keyless.envelope["message"]) == (400, True)
    assert (wrong.status, wrong.envelope["error_key"]) == (400, "vault_key_error")
    assert (nowhere.status, nowhere.envelope["error_key"]) == (404, "vault_missing_error")
    assert (await house.client.get("/kernel/v1/vaults")).data["vaults"] == []
    assert (house.data / "vaults" / "cellar" / "config").exists()


NO_PLACES = (
    "rclone:remote:path",
    "/etc",
    "cellar",
    "",
    "sftp:-oProxyCommand=x:/y",
    "sftp:user@-oProxyCommand=x:/y",
    "rest:http://x y/",
    "s3:\n",
    "mount:",
    "mount:nowhere",
)
NO_CREDENTIALS = ("PATH", "LD_PRELOAD", "RESTIC_PASSWORD_COMMAND", "aws_key", "RESTIC_CACHE_DIR")


async def test_who_shows_places_for_backups_is_told_of_a_vault_that_comes_or_goes(
    house: VaultHouse, empty_vault: Path
) -> None:
    told: list[BackupLocationChanged] = []
    house.system.bus.subscribe(BackupLocationChanged, told.append, "test")

    await take_up(house, "loft", empty_vault)
    await house.client.delete("/kernel/v1/vaults/loft")
    await house.system.bus.drained()

    assert [(event.name, event.there) for event in told] == [("loft", True), ("loft", False)]


async def test_place_that_is_none_is_told_those_that_there_are(house: VaultHouse) -> None:
    answer = await house.client.post("/kernel/v1/vaults", json={"name": "loft", "place": "nonsense"})

    assert answer.status == 400
    assert answer.message.startswith("place: must be local (this disk), mount:NAME (a mount for backups) or an address")
    assert "sftp:" in answer.message


async def test_places_that_are_none_are_refused_by_name(house: VaultHouse) -> None:
    for place in NO_PLACES:
        answer = await house.client.post("/kernel/v1/vaults", json={"name": "loft", "place": place})

        assert answer.status in {400, 404, 503}, place
        assert "loft" not in house.vaults, place


async def test_variables_that_are_no_credentials_are_refused(house: VaultHouse) -> None:
    for name in NO_CREDENTIALS:
        body = {"name": "loft", "place": "s3:http://127.0.0.1:1/x", "environment": {name: "x"}}

        answer = await house.client.post("/kernel/v1/vaults", json=body)

        assert answer.status == 400, name
        assert "AWS_ACCESS_KEY_ID" in answer.envelope["message"], name


async def test_names_that_are_none_are_refused(house: VaultHouse) -> None:
    for name in ("", "a b", "../x", "x" * 41, "å"):
        answer = await house.client.post("/kernel/v1/vaults", json={"name": name, "place": "local"})

        assert answer.status == 400, name


async def test_server_that_does_not_answer_is_said_and_nothing_is_kept(house: VaultHouse) -> None:
    body = {"name": "loft", "place": "rest:http://user:hunter2@127.0.0.1:1/x"}

    answer = await house.client.post("/kernel/v1/vaults", json=body)

    assert answer.status == 503
    assert "hunter2" not in answer.text
    assert "loft" not in house.vaults


def test_login_in_an_address_is_not_shown() -> None:
    assert without_password("rest:http://user:hunter2@nas/x") == "rest:http://user:***@nas/x"
    assert without_password("sftp:user@host:/x") == "sftp:user@host:/x"


def test_complaint_is_told_without_what_only_the_vault_knows() -> None:
    vault = VaultAccess(
        repository="rest:http://u:p%40ss@nas/x", key=Secret("the key"), cache=Path("/x"),
        environment={"AWS_SECRET_ACCESS_KEY": Secret("a/b")},
    )  # fmt: skip

    error = reason(vault, "Fatal: the key, a/b, a%2Fb, p@ss and rest:http://u:p%40ss@nas/x said \x1b[31m no\n")

    assert isinstance(error, VaultRefused)
    assert error.message == (
        "restic failed (rest:http://u:***@nas/x): ***, ***, ***, *** and rest:http://u:***@nas/x said �[31m no"
    )


async def test_without_restic_the_vaults_are_listed_and_what_to_install_is_said(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    listed = await house.client.get("/kernel/v1/vaults")
    answer = await house.client.post("/kernel/v1/vaults/cellar/reload", json={})

    assert [vault["name"] for vault in listed.data["vaults"]] == ["cellar"]
    assert answer.status == 503
    assert "install it (the package is called restic)" in answer.envelope["message"]


async def test_server_that_takes_calls_and_never_answers_is_given_up_and_its_restic_ends(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic, "PATIENCE", timedelta(seconds=2))
    calls: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: calls.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    body = {"name": "loft", "place": f"rest:http://user:hunter2@127.0.0.1:{port}/x"}

    made = await house.client.post("/kernel/v1/vaults", json=body)
    opened = await house.client.post("/kernel/v1/vaults", json={**body, "existing": True, "key": KEY})

    for answer in (made, opened):
        assert (answer.status, answer.envelope["error_key"]) == (503, "vault_unreachable_error")
        assert f"rest:http://user:***@127.0.0.1:{port}/x did not answer within 2 s" in answer.envelope["message"]
    assert calls
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if f"127.0.0.1:{port}".encode() in _read(path)]
    for call in calls:
        call.close()
    server.close()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_vaults_are_the_owners_affair_alone(house: VaultHouse) -> None:
    token = await token_for(house.system, Principal("token", "x", Role.BACKUP))

    for path in ("/kernel/v1/vaults", "/kernel/v1/vaults/cellar/recovery-kit"):
        answer = await house.client.get(path, token=token)
        assert answer.status == 403


async def test_vault_that_is_away_keeps_no_room_from_being_made_in_the_others(
    house: VaultHouse, empty_vault: Path
) -> None:
    await take_up(house, "attic", empty_vault)
    await house.back_up()
    await house.cellar.delete("0badcafe")
    full = sum(path.stat().st_size for path in (house.data / "vaults/cellar/data").rglob("*") if path.is_file())
    (house.data / "vaults" / "attic" / "config").unlink()

    await make_room_everywhere(house.system.jobs, house.vaults)

    left = sum(path.stat().st_size for path in (house.data / "vaults/cellar/data").rglob("*") if path.is_file())
    assert left < full / 2
