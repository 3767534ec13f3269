"""A house with a vault."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from rooftree.testing import Failing
from tests.plugins.backups_vault.vault_house import KEY, Starts, VaultHouse, make_lamp, vault_house
from tests.rig.vault_key import make_cheap


@pytest.fixture
def allow() -> Collection[Failing]:
    """What may go wrong, because the test is about it."""
    return ()


@pytest.fixture(scope="session")
def empty_vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with nothing in it, quickly opened. It is made once for all workers: restic needs three seconds of a
    processor to find out how dear its key may be."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "vault"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder := shared / "cellar").exists():
            making = shared / "making"
            environment = {**os.environ, "RESTIC_PASSWORD": KEY, "RESTIC_REPOSITORY": str(making)}
            subprocess.run(["restic", "init", "--no-cache"], env=environment, check=True, capture_output=True)
            make_cheap(making, KEY)
            making.rename(folder)
    return folder


@pytest.fixture
async def house(tmp_path: Path, empty_vault: Path, allow: Collection[Failing]) -> AsyncIterator[VaultHouse]:
    """A house with the lamp's data, and a vault for them."""
    async with vault_house(tmp_path, empty_vault, allow) as house:
        make_lamp(house.data)
        yield house


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """A restic that is watched."""
    folder = tmp_path / "bin"
    folder.mkdir()
    real, place = shlex.quote(shutil.which("restic") or ""), shlex.quote(str(folder))
    script = f"""#!/bin/sh
echo "$@" >> {place}/starts
if [ -e {place}/fails ]; then touch {place}/failed; echo "Fatal: connection refused" >&2; exit 1; fi
exec {real} "$@"
"""
    (folder / "restic").write_text(script)
    (folder / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Starts(folder)
