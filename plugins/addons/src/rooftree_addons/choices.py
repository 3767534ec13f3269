"""Choosing an add-on's options: what its user may, and what the add-on may for itself.

An add-on may set its own options, and a user's words in them reach beyond it: a reference to a secret, a device. So it
matters who calls. Its user (whoever may manage add-ons, or Home Assistant Core) may refer to any secret and give any
device that a protected add-on may have. The add-on itself, whatever its role, refers to no secret that its user has
not put in that very place, and chooses neither a disk nor a device that another add-on's options name. What it leaves
as it was is not asked about again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rooftree import Principal
from rooftree.interfaces.callers import ADDON
from rooftree_addons.device_grants import HardwareRule, chosen_devices, numbers
from rooftree_addons.devices import HostDevices
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonSlug


def is_itself(caller: Principal | None, slug: AddonSlug) -> bool:
    """Whether it is the add-on that calls, with whatever role."""
    return caller is not None and caller.kind == ADDON.name and caller.id == slug


def devices_to_choose(
    addon: InstalledAddon, others: Iterable[InstalledAddon], data: Path, *, by_itself: bool
) -> HostDevices:
    """The devices that may be chosen for an add-on now. Blocks for a moment.

    :param addon: as it is before the choice
    :param others: the other add-ons that are installed
    """
    private = {number for other in others for number in numbers(_chosen(other))} if by_itself else ()
    rule = HardwareRule(protected=addon.protected, data=data, private=private, own_choice=by_itself)
    return HostDevices(why_not=rule.why_not, unchanged=_chosen(addon))


def _chosen(addon: InstalledAddon) -> list[str]:
    return chosen_devices(addon.config, addon.effective_options)
