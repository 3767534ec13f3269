"""What an add-on's configuration means on a given host: which image, whether it can run, how far it is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from rooftree.errors import Invalid
from rooftree_store.addon_config import AddonConfig
from rooftree_store.slugs import RepositorySlug
from rooftree_store.versions import Order, order
from rooftree_store.vocabulary import HassioRole


def pick_arch(config: AddonConfig, arches: Sequence[str]) -> str:
    """The architecture to run an add-on in: the first of the host's, best first, that it supports.

    The host's best where there is none; :func:`availability` then says that it cannot run.
    """
    return next((arch for arch in arches if arch in config.arch), arches[0])


def image_reference(
    config: AddonConfig, repository_slug: RepositorySlug | str, arch: str, *, machine: str | None = None
) -> str:
    """The name of an add-on's image, without the tag (which is its version).

    ``{arch}`` is replaced, and so is ``{machine}``: other supervisors accept it in a configuration and fail here, so
    that it is also the advisory ``image-machine``. Raises :class:`~rooftree.errors.Invalid` when the name needs a
    machine and none is known. An add-on without ``image`` is built on the host under a name of its own.
    """
    if config.image is None:
        return f"{repository_slug}/{arch}-addon-{config.slug}"
    if "{machine}" in config.image and machine is None:
        raise Invalid(
            f"The image {config.image} of add-on {config.name} depends on the machine, and this host's is not known; "
            "set the machine, or ask the add-on's author for an image by architecture"
        )
    return config.image.replace("{arch}", arch).replace("{machine}", machine or "")


@frozen
class WrongArchitecture:
    """The add-on has no image for any architecture of the host."""

    supported: tuple[str, ...]

    def __str__(self) -> str:
        return f"it supports {', '.join(self.supported) or 'no architecture'} only"


@frozen
class WrongMachine:
    """The add-on is not for this machine."""

    machine: str | None
    wanted: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"it is for {', '.join(self.wanted)}, and this machine is {self.machine or 'not known'}; "
            "if it is another, name it as machine in [plugins.store]"
        )


@frozen
class CoreTooOld:
    """The add-on needs a newer Home Assistant Core."""

    needed: str
    running: str

    def __str__(self) -> str:
        return f"it needs Home Assistant {self.needed}, and {self.running} is installed"


type Reason = WrongArchitecture | WrongMachine | CoreTooOld


def availability(
    config: AddonConfig, arches: Sequence[str], machine: str | None, core_version: str | None
) -> list[Reason]:
    """Why an add-on cannot run here; an empty list means that it can.

    A ``machine`` list of negated entries alone means "any but these" (in the reference such an add-on is never
    available). Versions that cannot be compared, and a Core that is not installed, do not stand in the way.

    :param arches: the host's architectures, best first
    """
    reasons: list[Reason] = []
    if set(config.arch).isdisjoint(arches):
        reasons.append(WrongArchitecture(config.arch))
    if config.machine and not _machine_fits(config.machine, machine):
        reasons.append(WrongMachine(machine, config.machine))
    needed = config.homeassistant
    if needed is not None and core_version is not None and order(core_version, needed) is Order.OLDER:
        reasons.append(CoreTooOld(needed, core_version))
    return reasons


def _machine_fits(wanted: Sequence[str], machine: str | None) -> bool:
    if f"!{machine}" in wanted:
        return False
    named = [entry for entry in wanted if not entry.startswith("!")]
    return not named or machine in named


_RISKY_CAPABILITIES: Final = frozenset(
    {
        "BPF",
        "CHECKPOINT_RESTORE",
        "DAC_READ_SEARCH",
        "NET_ADMIN",
        "NET_RAW",
        "PERFMON",
        "SYS_ADMIN",
        "SYS_MODULE",
        "SYS_PTRACE",
        "SYS_RAWIO",
    }
)
_ROLE_POINTS: Final = {HassioRole.MANAGER: -1, HassioRole.ADMIN: -2}


def rating(config: AddonConfig, *, custom_profile: bool = False, signed: bool = False) -> int:
    """How far an add-on can be trusted by what it asks for: 1 (not at all) to 8.

    :param custom_profile: whether an AppArmor profile of its own is loaded
    """
    if config.docker_api or config.full_access:
        return 1
    points = 5 + _ROLE_POINTS.get(config.hassio_role, 0)
    if not config.apparmor:
        points -= 1
    elif custom_profile:
        points += 1
    if config.ingress:
        points += 2
    elif config.auth_api:
        points += 1
    if signed:
        points += 1
    capabilities = frozenset(config.privileged or ())
    if config.kernel_modules or not capabilities.isdisjoint(_RISKY_CAPABILITIES):
        points -= 1
    if config.host_network:
        points -= 1
    if config.host_pid:
        points -= 2
    if config.host_uts and "SYS_ADMIN" in capabilities:
        points -= 1
    return max(1, min(8, points))
