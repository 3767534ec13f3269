"""A vault behind a REST server that asks for a login and shows a certificate: a real one on this machine's loopback."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from rooftree.interfaces.backups import BackupPart
from rooftree.interfaces.vaults import VaultUnreachable
from tests.plugins.backups_vault.full_circle import VAULTS, goes_round, is_nowhere, location
from tests.plugins.backups_vault.vault_house import (
    KEY,
    LAMP,
    Starts,
    VaultHouse,
    lamp_contents,
    needs_restic,
    quiet,
    store,
)
from tests.plugins.backups_vault.vault_servers import PASSWORD, RestServer
from tests.requirements import needs
from tests.rig.vault_key import make_cheap

pytestmark = [needs_restic, needs(shutil.which("rclone") is not None, "rclone is not installed (package rclone)")]


@pytest.fixture
async def prepared(tmp_path: Path) -> RestServer:
    """A server that does not run yet."""
    folder = tmp_path / "rest"
    folder.mkdir()
    server = RestServer(folder)
    await asyncio.to_thread(server.prepare)
    return server


@pytest.fixture
async def server(prepared: RestServer) -> AsyncIterator[RestServer]:
    """One that runs."""
    running = prepared.running()
    await asyncio.to_thread(running.__enter__)
    yield prepared
    await asyncio.to_thread(running.__exit__, None, None, None)


async def test_vault_behind_a_rest_server_is_all_that_a_vault_is(
    house: VaultHouse, server: RestServer, starts: Starts, empty_vault: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    body = {"place": server.place(), "ca_certificates": server.authority}
    await goes_round(house, body, empty_vault, tmp_path, partial(make_cheap, server.folder / "vault"))

    listed = await house.client.get(VAULTS)
    is_nowhere([PASSWORD, house.vaults.get("loft").key.reveal()], starts, caplog.text, listed.text)


async def test_each_thing_that_is_wrong_is_said_with_the_place_and_nothing_is_kept(
    house: VaultHouse, server: RestServer, starts: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"name": "loft", "place": server.place(), "ca_certificates": server.authority}
    cases = {
        "The server's certificate is not trusted": {**body, "ca_certificates": ""},
        "The server does not accept the login": {**body, "place": server.place("no-" + PASSWORD)},
        "The vault's server does not answer": {**body, "place": server.place().replace(str(server.port), "1")},
        "The vault's server has no address": {**body, "place": server.place().replace("127.0.0.1", "nas.invalid")},
    }
    for said, wrong in cases.items():
        for existing in ({}, {"existing": True, "key": "the-key-of-a-test"}):
            answer = await house.client.post(VAULTS, json={**wrong, **existing})

            assert (answer.status, answer.envelope["error_key"]) == (503, "vault_unreachable_error"), answer.text
            assert answer.envelope["message"].startswith(f"{said} (rest:https://rooftree:***@"), answer.text
            is_nowhere([PASSWORD, "the-key-of-a-test"], starts, caplog.text, answer.text)
    nothing = await house.client.post(VAULTS, json={**body, "existing": True, "key": "the-key-of-a-test"})
    assert (nothing.status, nothing.envelope["error_key"]) == (404, "vault_missing_error")
    assert "loft" not in house.vaults


async def test_server_that_goes_in_the_middle_leaves_no_backup_and_the_next_is_made_when_it_is_back(
    house: VaultHouse, prepared: RestServer, empty_vault: Path
) -> None:
    part = BackupPart(id=LAMP, name="Lamp")
    await asyncio.to_thread(shutil.copytree, empty_vault, prepared.folder / "vault")
    body = {"name": "loft", "place": prepared.place(), "ca_certificates": prepared.authority}
    running = prepared.running()
    await asyncio.to_thread(running.__enter__)
    try:
        taken_up = await house.client.post(VAULTS, json={**body, "existing": True, "key": KEY})
        assert taken_up.status == 200, taken_up.text
        with pytest.raises(VaultUnreachable, match=r"does not answer \(rest:https://rooftree:\*\*\*@127"):
            async with location(house).writer("0badcafe", None) as writer:
                await writer.add(part, lamp_contents(), quiet)
                await asyncio.to_thread(running.__exit__, None, None, None)
                await writer.add(part, lamp_contents(), quiet)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)

    assert location(house).backups() == []
    with prepared.running():
        await location(house).reload()
        assert location(house).backups() == []
        await store(location(house), "0badcafe")
        await location(house).prune()
        await location(house).reload()
    assert [head.slug for head, _ in location(house).backups()] == ["0badcafe"]
