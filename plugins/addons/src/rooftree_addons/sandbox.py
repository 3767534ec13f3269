"""How far an add-on's processes are kept from the kernel: the system calls they may make, and how many they may be.

Every add-on runs under the engine's own seccomp profile and a limit on its processes, unless its configuration declares
what that profile stands in the way of, or its user has decided otherwise. The profile knows capabilities: what an
add-on is granted by ``privileged`` it may use under it too, but for those that open more of the kernel than the
profile has rules for.
"""

from __future__ import annotations

import enum
from typing import Final

from attrs import field, frozen
from attrs.validators import ge

from rooftree_addons.installed import InstalledAddon, Seccomp
from rooftree_store import UlimitPair

BEYOND_PROFILE: Final = frozenset({"BPF", "CHECKPOINT_RESTORE", "PERFMON", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO"})
"""Capabilities that the profile would hold back (the first three are unknown to that of Docker 20.10; the newer calls
around mounting, for SYS_ADMIN, too), or beside which it holds nothing back: who may load modules is the kernel."""
MOST_PROCESSES: Final = 4_194_304
"""What the kernel can count (PID_MAX_LIMIT)."""


class SandboxRule(enum.StrEnum):
    """Who decided about the profile."""

    USUAL = "usual"
    DECLARED = "declared"
    USER = "user"
    OPERATOR = "operator"


@frozen
class SandboxSettings:
    """What the operator decided for all add-ons.

    :ivar seccomp: whether the engine's profile is used at all
    :ivar pids_limit: how many processes and threads an add-on may have; 0 for any number
    """

    seccomp: bool = True
    pids_limit: int = field(default=4096, validator=ge(0))


@frozen
class Sandbox:
    """What holds for one add-on."""

    seccomp: Seccomp
    pids_limit: int | None
    """``None``: no limit."""
    rule: SandboxRule
    """Who decided about ``seccomp``."""
    because: tuple[str, ...] = ()
    """The declarations that lift the profile, where they do."""

    @property
    def security_options(self) -> tuple[str, ...]:
        """What the engine is told: nothing where its own profile is to hold."""
        return ("seccomp=unconfined",) if self.seccomp is Seccomp.UNCONFINED else ()


def declarations_beyond(addon: InstalledAddon) -> tuple[str, ...]:
    """What in an add-on's configuration needs more than the profile allows; what its protection holds back does not."""
    config = addon.config
    capabilities = [f"privileged: {name}" for name in config.privileged or () if name in BEYOND_PROFILE]
    unprotected = [name for name in ("docker_api", "full_access", "host_pid") if getattr(config, name)]
    return (
        *dict.fromkeys(capabilities),
        *(["kernel_modules"] if config.kernel_modules else []),
        *([] if addon.protected else unprotected),
    )


def sandbox(addon: InstalledAddon, settings: SandboxSettings) -> Sandbox:
    """What holds for an add-on: the user's word before its configuration's, and the operator's before both."""
    because = declarations_beyond(addon)
    limit = _pids_limit(addon, settings)
    if not settings.seccomp:
        return Sandbox(Seccomp.UNCONFINED, limit, SandboxRule.OPERATOR)
    if addon.seccomp is not None:
        return Sandbox(addon.seccomp, limit, SandboxRule.USER, because)
    if because:
        return Sandbox(Seccomp.UNCONFINED, limit, SandboxRule.DECLARED, because)
    return Sandbox(Seccomp.DEFAULT, limit, SandboxRule.USUAL)


def _pids_limit(addon: InstalledAddon, settings: SandboxSettings) -> int | None:
    if addon.pids_limit is not None:
        return addon.pids_limit or None
    if not settings.pids_limit:
        return None
    declared = addon.config.ulimits.get("nproc", 0)
    wanted = declared.hard if isinstance(declared, UlimitPair) else declared
    return min(max(settings.pids_limit, wanted), MOST_PROCESSES)


def relaxations(addon: InstalledAddon, settings: SandboxSettings, chosen_disks: tuple[str, ...]) -> list[str]:
    """What its user has given an add-on beyond what its kind gets: each makes it less to be trusted.

    :param chosen_disks: the disks and partitions that its options name
    """
    held = sandbox(addon, settings)
    return [
        *([] if addon.protected else ["its protection is off"]),
        *(f"its options name the disk {path}" for path in chosen_disks),
        *(["its system calls are not confined"]
          if held.seccomp is Seccomp.UNCONFINED and held.rule is SandboxRule.USER else []),
        *(["the number of its processes is not limited"]
          if held.pids_limit is None and addon.pids_limit is not None else []),
    ]  # fmt: skip


def rating_of(usual: int, relaxed: list[str]) -> int:
    """How far an installed add-on can be trusted: as by its configuration, less a point for each relaxation."""
    return max(1, usual - len(relaxed))
