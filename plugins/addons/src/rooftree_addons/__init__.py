"""The add-ons' public module: what plugins that depend on ``rooftree-addons`` may use."""

from rooftree.interfaces.addons import AddonStateChanged
from rooftree_addons.addons import ADDONS, Addons, AddonState
from rooftree_addons.installed import AddonNotInstalled, InstalledAddon
from rooftree_addons.probation import AddonRolledBack

__all__ = [
    "ADDONS",
    "AddonNotInstalled",
    "AddonRolledBack",
    "AddonState",
    "AddonStateChanged",
    "Addons",
    "InstalledAddon",
]
