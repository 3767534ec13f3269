"""The vaults that there are: where each lies, and the key that opens it.

A vault is made or opened before it is kept, so that one that does not work is never on the list. Forgetting it here
leaves what it holds where it is: with its key it can be taken up again, here or anywhere else.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from attrs import evolve, field, frozen

from rooftree import (
    Collection,
    Conflict,
    Driver,
    Invalid,
    Kernel,
    NotFound,
    ParsedString,
    Secret,
    Service,
    Unavailable,
    document,
)
from rooftree.interfaces.backups import BackupLocationChanged
from rooftree.interfaces.mounts import MOUNTS, Mount
from rooftree.interfaces.vaults import VaultAccess, VaultDriver
from rooftree_backups_vault.mount_watch import MountWatch
from rooftree_backups_vault.places import without_password
from rooftree_backups_vault.turns import DriverInTurn, Turns

LOCAL: Final = "local"
MOUNT: Final = "mount:"
FOLDER: Final = "vaults"
"""Of the data folder: where the vaults of this disk lie. No folder of the plugin's own: they outlive it."""
ON_MOUNT: Final = "rooftree-vault"
KEY_BYTES: Final = 24


class VaultName(ParsedString):
    """What a vault is called: also the name of its location among those of backups."""

    pattern: ClassVar[str] = "[A-Za-z0-9_]{1,40}"
    allowed: ClassVar[str] = "letters a-z and A-Z, digits and _, at most 40 of them"


class VariableName(ParsedString):
    """A variable of the program's environment that has credentials."""

    pattern: ClassVar[str] = "[A-Z][A-Z0-9_]{0,60}"
    allowed: ClassVar[str] = "an environment variable for credentials, such as AWS_ACCESS_KEY_ID"

    @classmethod
    def check(cls, text: str) -> None:
        """Nothing that makes the program another one, or has it run others."""
        super().check(text)
        if not text.startswith(("AWS_", "AZURE_", "B2_", "GOOGLE_", "OS_", "ST_", "RESTIC_REST_")):
            raise ValueError(f"must be {cls.allowed}; those of AWS_, AZURE_, B2_, GOOGLE_, OS_, ST_ and RESTIC_REST_")


@document("backups-vault.vault", version=1)
@frozen(kw_only=True)
class Vault:
    """A vault; its collection is keyed by name."""

    driver: str
    place: Secret
    """``local``, ``mount:NAME``, or an address in the driver's words, which may have a login in it."""
    key: Secret
    environment: Mapping[str, Secret] = field(factory=dict)
    ssh_key: Secret | None = None
    ssh_hosts: str = ""
    ca_certificates: str = ""
    created: datetime

    @property
    def shown_place(self) -> str:
        """The place without a login's password."""
        return without_password(self.place.reveal())


class Vaults:
    """The vaults.

    :param cache: a folder that may be lost at any time
    """

    def __init__(
        self, kernel: Kernel, drivers: Mapping[str, Driver[VaultDriver]], kept: Collection[Vault], cache: Path
    ) -> None:
        self._kernel = kernel
        self._kept = kept
        self._cache = cache
        self._drivers: dict[str, VaultDriver] = {}
        self._turns: dict[str, Turns] = {}
        self._watch = MountWatch(kernel)
        for name, driver in drivers.items():
            self._drivers[name] = driver.kind()
            driver.in_use()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._kept))

    def get(self, name: str) -> Vault:
        """A vault; raises ``NotFound``."""
        vault = self._kept.get(name)
        if vault is None:
            raise NotFound(f"There is no vault {name}: `rooftree vault list` shows those that there are")
        return vault

    def driver(self, name: str) -> VaultDriver:
        """What keeps a vault; raises ``NotFound``, and ``Unavailable`` where it is not installed."""
        vault = self.get(name)
        place, turns = vault.place.reveal(), self._turns.setdefault(name, Turns())
        mount = place.removeprefix(MOUNT) if place.startswith(MOUNT) else None
        return DriverInTurn(self._driver(vault.driver), turns, self._watch, mount)

    def _driver(self, name: str) -> VaultDriver:
        driver = self._drivers.get(name)
        if driver is None:
            installed = ", ".join(sorted(self._drivers)) or "none"
            raise Unavailable(f"The driver {name} for vaults is not there; installed and enabled: {installed}")
        return driver

    def access(self, name: str) -> VaultAccess:
        """How a vault is reached; raises ``NotFound``, and where its mount is away :class:`~rooftree.Unavailable`."""
        return self._access(name, self.get(name))

    def _access(self, name: str, vault: Vault) -> VaultAccess:
        return VaultAccess(
            repository=self._repository(name, vault.place.reveal()),
            key=vault.key,
            environment=vault.environment,
            ssh_key=vault.ssh_key,
            ssh_hosts=vault.ssh_hosts,
            ca_certificates=vault.ca_certificates,
            cache=self._cache / name,
        )

    def _repository(self, name: str, place: str) -> str:
        if place == LOCAL:
            return str(self._kernel.data.path / FOLDER / name)
        if not place.startswith(MOUNT):
            return place
        mount = self._kernel.service(MOUNTS).mount(place.removeprefix(MOUNT))
        if mount.usage != "backup":
            raise Invalid(f"The mount {mount.name} is for {mount.usage}; a vault needs one for backup")
        if mount.state != "active":
            raise Unavailable(f"The mount {mount.name} is not there; the vault {name} lies on it")
        return str(mount.path / ON_MOUNT / name)

    def _mounts(self) -> tuple[Mount, ...]:
        mounts = self._kernel.find(MOUNTS)
        return mounts.mounts() if mounts is not None else ()

    def now(self) -> datetime:
        """What time it is."""
        return self._kernel.clock.now()

    async def check(self, name: str, key: Secret | None) -> None:
        """Prove that a key opens a vault, or that its own does; raises as the driver does."""
        access = self.access(name)
        await self.driver(name).open(evolve(access, key=key) if key is not None else access)

    async def add(self, name: VaultName, vault: Vault, *, existing: bool) -> Vault:
        """Make a vault, or take one up that is there; returns it. Raises ``Conflict`` for a name that is taken, and
        what its driver does.

        :param existing: take up what is there, with the key that it was made with
        """
        if name in self._kept or any(mount.name == name for mount in self._mounts()):
            raise Conflict(f"There is a vault or a mount called {name} already; choose another name")
        driver, place = self._driver(vault.driver), vault.place.reveal()
        if place != LOCAL and not place.startswith(MOUNT):
            try:
                driver.refuse_repository(place)
            except Invalid as error:
                there = [f"{MOUNT}{mount.name}" for mount in self._mounts() if mount.usage == "backup"]
                known = ", ".join([f"{LOCAL} (this disk)", *(there or [f"{MOUNT}NAME (a mount for backups)"])])
                raise Invalid(f"place: must be {known} or an address. {error.message}") from None
        access = self._access(name, vault)
        if not existing:
            await driver.create(access)
        await driver.open(access)
        await self._kernel.commit(self._kept.put(name, vault))
        self._kernel.publish(BackupLocationChanged(name, there=True))
        return vault

    async def forget(self, name: str) -> None:
        """Know nothing of a vault any more; what it holds stays."""
        self.get(name)
        await self._kernel.commit(self._kept.delete(name))
        self._kernel.publish(BackupLocationChanged(name, there=False))


def new_key() -> Secret:
    """A key that nobody can guess, in letters that can be written down."""
    text = secrets.token_hex(KEY_BYTES)
    return Secret("-".join(text[start : start + 6] for start in range(0, len(text), 6)))


VAULTS = Service[Vaults]("backups-vault.vaults/1")
