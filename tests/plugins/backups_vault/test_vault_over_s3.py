"""A vault in a bucket: a real server of S3's protocol that checks keys and signatures, on this machine's loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.plugins.backups_vault.full_circle import VAULTS, goes_round, is_nowhere
from tests.plugins.backups_vault.vault_house import Starts, VaultHouse, needs_restic
from tests.plugins.backups_vault.vault_servers import MOTO, S3Server, s3_server
from tests.requirements import needs

pytestmark = [needs_restic, needs(MOTO.exists(), "there is no S3 server (scripts/s3-server installs it)")]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[S3Server]:
    """One that runs."""
    serving = s3_server(tmp_path)
    yield await asyncio.to_thread(serving.__enter__)
    await asyncio.to_thread(serving.__exit__, None, None, None)


async def test_vault_in_a_bucket_is_all_that_a_vault_is(
    house: VaultHouse, server: S3Server, starts: Starts, empty_vault: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    body = {"place": server.place(), "environment": server.credentials}
    await goes_round(house, body, empty_vault, tmp_path, partial(server.make_cheap, tmp_path / "loft"))

    listed = await house.client.get(VAULTS)
    is_nowhere([server.secret, house.vaults.get("loft").key.reveal()], starts, caplog.text, listed.text)


async def test_each_thing_that_is_wrong_with_a_bucket_is_said_with_the_place_and_nothing_is_kept(
    house: VaultHouse, server: S3Server, starts: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"name": "loft", "place": server.place(), "existing": True, "key": "the-key-of-a-test"}
    right = server.credentials
    cases = [
        ("The access key's secret is not the server's", 503, {"environment": {**right, "AWS_SECRET_ACCESS_KEY": "no"}}),
        ("The server does not know the access key", 503, {"environment": {**right, "AWS_ACCESS_KEY_ID": "nobody"}}),
        ("There is no such bucket", 404, {"environment": right}),
        ("The vault's server does not answer", 503, {"place": "s3:http://127.0.0.1:1/cellar", "environment": right}),
    ]
    for said, status, wrong in cases:
        answer = await house.client.post(VAULTS, json={**body, **wrong})

        assert answer.status == status, answer.text
        assert answer.envelope["message"].startswith(f"{said} (s3:http://127.0.0.1:"), answer.text
        is_nowhere([server.secret, "the-key-of-a-test"], starts, caplog.text, answer.text)
    assert "loft" not in house.vaults
