"""The recovery kit: one page with which its owner gets at a vault when this machine is gone."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import frozen

from rooftree import Service
from rooftree.interfaces.vaults import VaultAccess, VaultDriver
from rooftree_backups_vault.vaults import LOCAL, MOUNT, ON_MOUNT, Vault, Vaults

KEY_LINE: Final = "Key:"
"""What the line begins with that has the key; ``rooftree vault check --kit`` reads it."""


@frozen
class RecoveryKits:
    """The recovery kits of the vaults."""

    vaults: Vaults

    def page(self, name: str) -> str:
        """That of a vault; raises ``NotFound``."""
        vault = self.vaults.get(name)
        return recovery_kit(name, vault, self.vaults.access(name), self.vaults.driver(name), self.vaults.now())


RECOVERY_KITS = Service[RecoveryKits]("backups-vault.recovery_kits/1")


def recovery_kit(name: str, vault: Vault, access: VaultAccess, driver: VaultDriver, moment: datetime) -> str:
    """The page, as plain text. It has the key: who has it and reaches the vault can read all backups in it."""
    place = vault.shown_place
    where = place
    if place == LOCAL:
        where = f"on the disk of this machine, in {access.repository}"
    elif place.startswith(MOUNT):
        where = f"on the share that is mounted as {place.removeprefix(MOUNT)}, in the folder {ON_MOUNT}/{name}"
    lines = [
        f"Recovery kit of the vault {name}",
        f"written on {moment:%Y-%m-%d}, of a vault made on {vault.created:%Y-%m-%d}",
        "",
        "Keep this page where this machine is not: on paper, or in a password manager.",
        "Whoever has it and reaches the vault can read every backup in it; without it nobody can.",
        "",
        f"Where:  {where}",
        f"Kept by {vault.driver}",
        f"{KEY_LINE}    {vault.key.reveal()}",
        "",
        *(["Also needed: the credentials " + ", ".join(vault.environment), ""] if vault.environment else []),
        *(["Also needed: the SSH key that the server accepts", ""] if vault.ssh_key is not None else []),
        *(["Also needed: the certificates that the server's is from", ""] if vault.ca_certificates else []),
        "With Rooftree, on another machine:",
        "",
        *([f"  (first put the folder back at vaults/{name} in the data folder)"] if place == LOCAL else []),
        f"  rooftree vault create {name} --place '{place}' --existing",
        "",
        "asks for the key, and `rooftree backup list` shows the backups.",
        "",
        "Without Rooftree:",
        "",
        *(f"  {line}" if line else "" for line in driver.by_hand(access).splitlines()),
        "",
        "A backup is one snapshot for each of its parts; those of one backup have a tag run=… in common, and the",
        "snapshot with the tag rooftree-head has the file head.json, which says what they are.",
        "",
    ]
    return "\n".join(lines)


def key_in(kit: str) -> str | None:
    """The key that a kit names; ``None`` for a text that is none."""
    for line in kit.splitlines():
        if line.startswith(KEY_LINE):
            return line.removeprefix(KEY_LINE).strip() or None
    return None
