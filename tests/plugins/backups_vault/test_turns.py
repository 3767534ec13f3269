"""Who may be in a vault at the same time."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from rooftree import Kernel, Plugin, Secret
from rooftree.interfaces.mounts import MOUNTS
from rooftree.interfaces.vaults import VaultAccess, VaultRefused, VaultUnreachable
from rooftree.testing import running_system
from rooftree_backups_vault.mount_watch import MountWatch
from rooftree_backups_vault.restic import Restic
from rooftree_backups_vault.turns import DriverInTurn, Turns
from tests.plugins.backups.house import MountsOfTheTest
from tests.plugins.backups_vault.vault_house import KEY, LAMP, VaultHouse, needs_restic
from tests.rig.dead_share import Share


async def test_who_is_alone_waits_for_all_others_who_come_in_again_meanwhile() -> None:
    turns = Turns()
    order: list[str] = []

    async def take_away() -> None:
        async with turns.alone():
            order.append("alone")

    async with turns.beside_others():
        taking_away = asyncio.create_task(take_away())
        await asyncio.sleep(0)
        async with turns.beside_others():  # as a backup does for each of its parts
            order.append("beside")
    await taking_away

    assert order == ["beside", "alone"]


async def test_others_wait_for_who_is_alone_and_one_that_gives_up_keeps_nobody() -> None:
    turns = Turns()

    async def read() -> str:
        async with turns.beside_others():
            return "read"

    async with turns.alone():
        waiting, gone = asyncio.create_task(read()), asyncio.create_task(read())
        await asyncio.sleep(0)
        gone.cancel()
        assert not waiting.done()

    assert await waiting == "read"
    async with turns.alone():
        pass


@needs_restic
async def test_room_is_made_only_when_nothing_is_being_brought_back(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.back_up("0badcaf1")
    events: list[str] = []
    restore, prune = Restic.restore, Restic.prune
    is_restoring = asyncio.Event()

    async def slow_restore(*arguments: object) -> None:
        events.append("restore begins")
        is_restoring.set()
        await restore(*arguments)  # type: ignore[arg-type]
        events.append("restore ends")

    async def told_prune(*arguments: object) -> None:
        events.append("prune")
        await prune(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Restic, "restore", slow_restore)
    monkeypatch.setattr(Restic, "prune", told_prune)

    proving = asyncio.create_task(house.proofs.prove("cellar", "0badcaf1", LAMP))
    await is_restoring.wait()
    await house.cellar.prune()

    assert (await proving).whole
    assert events == ["restore begins", "restore ends", "prune"]


@needs_restic
async def test_proof_that_fails_because_others_made_room_is_tried_again_and_is_no_finding(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.back_up("0badcaf1")
    restore = Restic.restore
    tries: list[object] = []

    async def moved_meanwhile(*arguments: object) -> None:
        tries.append(arguments)
        if len(tries) == 1:
            raise VaultRefused("restic failed: a pack is not there any more")
        await restore(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Restic, "restore", moved_meanwhile)

    await house.proofs.nightly()

    assert [proof.whole for proof in house.backups.get("cellar", "0badcaf1").proofs] == [True]
    assert len(tries) == 2


@needs_restic
async def test_vault_in_which_another_installation_makes_room_says_so_and_takes_a_backup_afterwards(
    house: VaultHouse, tmp_path: Path
) -> None:
    await house.back_up("0badcaf1")
    vault = house.data / "vaults" / "cellar"
    by_others = {
        **os.environ,
        "RESTIC_PASSWORD": KEY,
        "RESTIC_REPOSITORY": str(vault),
        "RESTIC_CACHE_DIR": str(tmp_path),
    }
    slowly = ("restic", "check", "--read-data", "--limit-download", "2")  # holds the vault for itself, as pruning does
    other = await asyncio.create_subprocess_exec(*slowly, env=by_others, stdout=asyncio.subprocess.PIPE)
    try:
        assert other.stdout is not None
        while b"load indexes" not in (line := await other.stdout.readline()):  # before, a signal would leave its lock
            assert line, "it has ended"

        with pytest.raises(VaultUnreachable, match=r"The vault cannot be locked .*locked exclusively by PID"):
            await house.back_up("0badcaf2")
        await house.proofs.nightly()
    finally:
        other.send_signal(signal.SIGINT)  # it takes its lock away
        await other.wait()

    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcaf1"]
    assert [proof.whole for proof in house.backups.get("cellar", "0badcaf1").proofs] == [True]
    await house.back_up("0badcaf2")
    assert {head.slug for head, _ in house.cellar.backups()} == {"0badcaf1", "0badcaf2"}


# --- a mount that goes ------------------------------------------------------------------------------------------------


class WatchingPlugin(Plugin):
    """A domain with mounts, who knows when they go."""

    name = "watching"
    provides = (MOUNTS,)

    async def setup(self, kernel: Kernel) -> None:
        self.mounts = MountsOfTheTest(kernel)
        kernel.provide(MOUNTS, self.mounts)  # type: ignore[arg-type]  # what a vault does not ask is left out
        self.watch = MountWatch(kernel)
        type(self).latest = self


@needs_restic
async def test_work_on_a_vault_ends_when_its_mount_stops_answering_and_nobody_waits_for_what_the_kernel_holds(
    tmp_path: Path, dead_share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_workers.child_processes.ENDS_S", 0.5)
    access = VaultAccess(repository=str(dead_share.folder / "vault"), key=Secret(KEY), cache=tmp_path / "cache")
    async with running_system(tmp_path / "house", plugins=[WatchingPlugin]):
        plugin = WatchingPlugin.latest  # type: ignore[attr-defined]
        plugin.mounts.add("nas")
        turns = Turns()
        driver = DriverInTurn(Restic(), turns, plugin.watch, "nas")
        pruning = asyncio.create_task(driver.prune(access))
        await asyncio.to_thread(dead_share.wait_until_asked)
        plugin.mounts.add("another")
        await asyncio.sleep(0)
        assert not pruning.done()

        plugin.mounts.take_down("nas")

        async with asyncio.timeout(10):
            with pytest.raises(VaultUnreachable, match="nas has stopped answering"):
                await pruning
            async with turns.alone():
                pass
        dead_share.answer()  # so that what is held can end with the test
