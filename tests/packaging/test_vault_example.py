"""``examples/vault-borg`` as a stranger's package: vaults by another program after nothing but ``pip install``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.environments import Environment, Wheels, checks
from tests.packaging.installed_daemon import InstalledDaemon
from tests.requirements import needs
from tests.workspace import ROOT

pytestmark = [
    pytest.mark.xdist_group("packaging"),
    pytest.mark.timeout(600),
    needs(shutil.which("borg") is not None, "borg is not installed (package borgbackup)"),
]

BORG = ROOT / "examples" / "vault-borg"
PLUGINS = ("archives", "files", "workers", "backups", "backups-vault")


@pytest.fixture(scope="module")
def environment(wheels: Wheels, new_environment: Callable[[], Environment]) -> Environment:
    """An environment with backups, vaults and the driver."""
    made = new_environment()
    made.install(*(wheels.of(ROOT / "plugins" / name) for name in PLUGINS), wheels.of(BORG))
    return made


def test_driver_passes_its_own_tests_where_it_is_installed(environment: Environment) -> None:
    told = environment.run("python", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", cwd=BORG)

    assert " passed" in told
    assert "skipped" not in told


def test_driver_holds_to_the_linters_with_what_is_published(environment: Environment) -> None:
    checks(environment, BORG, ("rooftree_vault_borg.py", "tests"))


def test_backup_goes_into_a_vault_of_borg_is_proved_and_is_there_again_when_the_vault_is_taken_up(
    environment: Environment, tmp_path: Path
) -> None:
    daemon = InstalledDaemon(environment, tmp_path / "data")
    vault = {"name": "loft", "driver": "borg", "place": "local", "key": "a key of the tests"}
    with daemon.running() as running:
        share = tmp_path / "data" / "share"
        share.mkdir(exist_ok=True)
        (share / "scenes.yaml").write_text("evening: [1, 2]\n")
        running.call("POST", "/kernel/v1/vaults", vault)
        made = running.call("POST", "/backups/new/partial", {"name": "n", "folders": ["share"], "location": "loft"})
        running.call("POST", "/kernel/v1/vaults/loft/prove", {})
        (shown,) = running.call("GET", "/kernel/v1/vaults")["vaults"]
        (backup,) = shown["backups"]
        assert backup["slug"] == made["slug"]
        assert [(proof["whole"], proof["opened_files"]) for proof in backup["proofs"]] == [(True, 1)]

        running.call("DELETE", "/kernel/v1/vaults/loft")
        again = running.call("POST", "/kernel/v1/vaults", {**vault, "existing": True})["vault"]
        assert [backup["slug"] for backup in again["backups"]] == [made["slug"]]
        (share / "scenes.yaml").write_text("changed")
        running.call("POST", f"/backups/{made['slug']}/restore/partial", {"folders": ["share"]})
        assert (share / "scenes.yaml").read_text() == "evening: [1, 2]\n"
