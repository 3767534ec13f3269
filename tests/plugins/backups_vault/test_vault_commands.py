"""``rooftree vault``, against a system with a vault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rooftree_backups_vault.commands import vault
from tests.plugins.backups_vault.vault_house import KEY, VaultHouse, needs_restic

pytestmark = needs_restic
type Cli = Callable[..., Coroutine[Any, Any, Result]]


@pytest.fixture
def cli(house: VaultHouse) -> Cli:
    """The command, as somebody types it beside the daemon."""

    async def run(*words: str, typed: str = "") -> Result:
        socket = str(house.system.settings.kernel.socket)
        return await asyncio.to_thread(CliRunner().invoke, vault, [*words, "--socket", socket], input=typed)

    return run


async def test_list_shows_vaults_with_their_backups_and_proofs(cli: Cli, house: VaultHouse) -> None:
    empty = await cli("list")
    await house.back_up()
    await house.proofs.nightly()
    listed, as_json = await cli("list"), await cli("list", "--json")

    assert "cellar" in empty.stdout
    line = next(line for line in listed.stdout.splitlines() if "0badcafe" in line)
    assert "local (restic)" in line and "at night" in line and "1 of 1" in line
    assert " 1.0 MiB " in line, "as every list of backups has sizes"
    assert json.loads(as_json.stdout)["vaults"][0]["backups"][0]["slug"] == "0badcafe"


async def test_vault_is_made_its_kit_is_written_for_its_owner_alone_and_proved(cli: Cli, tmp_path: Path) -> None:
    kit, of_none = tmp_path / "kit.txt", tmp_path / "of-none.txt"

    made = await cli("create", "loft", "--kit", str(kit))
    again = await cli("create", "attic", "--kit", str(kit))
    refused = await cli("create", "cellar", "--kit", str(of_none))
    proved = await cli("check", "loft", "--kit", str(kit))

    assert made.exit_code == 0, made.output
    assert kit.stat().st_mode & 0o777 == 0o600
    assert again.exit_code == 2 and "is there already" in again.output
    assert "attic" not in (await cli("list")).stdout
    assert refused.exit_code == 1 and not of_none.exists()
    assert proved.exit_code == 0 and "opens with the key in" in proved.stdout


async def test_kit_of_another_vault_does_not_open_it(cli: Cli, house: VaultHouse, tmp_path: Path) -> None:
    shown = await cli("kit", "cellar")
    kit = tmp_path / "kit.txt"
    kit.write_text(shown.stdout.replace(KEY, "another"))
    none = tmp_path / "letter.txt"
    none.write_text("Dear")

    refused, no_kit = await cli("check", "cellar", "--kit", str(kit)), await cli("check", "cellar", "--kit", str(none))

    assert KEY in shown.stdout
    assert refused.exit_code != 0
    assert no_kit.exit_code == 2 and "no recovery kit" in no_kit.output


async def test_forgotten_vault_is_taken_up_again_with_its_key(cli: Cli, house: VaultHouse) -> None:
    await house.back_up()

    forgotten = await cli("forget", "cellar")
    taken = await cli("create", "cellar", "--existing", typed=f"{KEY}\n")

    assert forgotten.exit_code == 0
    assert taken.exit_code == 0 and "with 1 backup." in taken.output


async def test_part_is_proved_and_its_files_are_looked_at_and_brought_back(cli: Cli, house: VaultHouse) -> None:
    await house.back_up()
    note = house.data / "apps/data/local_lamp/sub/note.txt"
    note.write_text("it is light")

    proved = await cli("prove", "cellar", "0badcafe", "--part", "local_lamp")
    listed = await cli("files", "cellar", "0badcafe", "local_lamp", "data/sub")
    back = await cli("put-back", "cellar", "0badcafe", "local_lamp", "data/sub/note.txt")
    room = await cli("prune", "cellar")

    assert "local_lamp of 0badcafe is whole" in proved.stdout
    assert "note.txt" in listed.stdout and "11" in listed.stdout
    assert back.exit_code == 0 and note.read_text() == "it was dark"
    assert "Room is made" in room.stdout


async def test_wrong_usage_is_said(cli: Cli) -> None:
    lone_part = await cli("prove", "cellar", "--part", "x")
    no_variable = await cli("create", "x", "--credential", "AWS_NO_SUCH")

    assert lone_part.exit_code == 2 and "goes with a backup" in lone_part.output
    assert no_variable.exit_code == 2 and "AWS_NO_SUCH" in no_variable.output
