"""What is asked of every place for vaults: made, filled, seen from elsewhere, brought back, proved, made room in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rooftree_backups_vault.vault_location import VAULT_LOCATIONS, VaultLocation
from tests.plugins.backups_vault.vault_house import (
    LAMP,
    Starts,
    VaultHouse,
    head_of,
    picture,
    quiet,
    store,
    vault_house,
)

VAULTS = "/kernel/v1/vaults"


async def goes_round(
    house: VaultHouse, body: dict[str, Any], empty_vault: Path, tmp_path: Path, make_cheap: Callable[[str], None]
) -> None:
    """A vault called ``loft`` at that place is all that a vault is.

    :param make_cheap: makes it quickly opened from now on, told its password
    """
    made = await house.client.post(VAULTS, json={"name": "loft", **body})
    assert made.status == 200, made.text
    await asyncio.to_thread(make_cheap, house.vaults.get("loft").key.reveal())
    loft = location(house)
    await store(loft, "0badcaf1")
    await store(loft, "0badcaf2")

    key = house.vaults.get("loft").key.reveal()
    async with vault_house(tmp_path / "elsewhere", empty_vault) as other:
        taken_up = await other.client.post(VAULTS, json={"name": "loft", **body, "existing": True, "key": key})
        assert [backup["slug"] for backup in taken_up.data["vault"]["backups"]] == ["0badcaf2", "0badcaf1"]
        assert {head.slug: head for head, _ in location(other).backups()}["0badcaf1"] == head_of("0badcaf1")
        async with location(other).reader("0badcaf1", None) as reader:
            await reader.unpack(LAMP, tmp_path / "back", quiet)
    assert picture(tmp_path / "back/trees/data") == picture(house.data / "apps/data/local_lamp")

    await house.proofs.nightly()
    (proof,) = house.backups.get("loft", "0badcaf2").proofs
    assert (proof.whole, proof.findings) == (True, ())
    assert proof.compared_files > 3

    await loft.delete("0badcaf1")
    pruned = await house.client.post(f"{VAULTS}/loft/prune", json={})
    assert pruned.status == 200, pruned.text
    await loft.reload()
    assert [head.slug for head, _ in loft.backups()] == ["0badcaf2"]


def location(house: VaultHouse) -> VaultLocation:
    """Where that vault's backups are."""
    return house.system.services.get(VAULT_LOCATIONS).get("loft")


def is_nowhere(secrets: list[str], starts: Starts, *texts: str) -> None:
    """No secret was among a program's arguments, or in any of the texts."""
    for secret in secrets:
        assert secret not in starts.arguments()
        for text in texts:
            assert secret not in text
