"""What a restore took the place of: kept while it may still come back."""

from __future__ import annotations

from attrs import frozen

from rooftree import document
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.probation import Probation


@document("addons.replaced", version=1)
@frozen(kw_only=True)
class ReplacedAddon:
    """An add-on as it was before a restore; its key is its slug."""

    restore: str
    """Which restore: where it has unpacked."""
    addon: InstalledAddon | None
    """``None``: it was not installed."""
    probation: Probation | None = None
    """What its version had to prove."""
