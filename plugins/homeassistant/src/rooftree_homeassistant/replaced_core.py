"""What a restore of Core took the place of: kept while it may still come back."""

from __future__ import annotations

from attrs import frozen

from rooftree import document
from rooftree_containers import ImageVersion, Probation
from rooftree_homeassistant.core_options import CoreOptions


@document("homeassistant.replaced", version=1)
@frozen(kw_only=True)
class ReplacedCore:
    """Core as it was before a restore."""

    restore: str
    """Which restore: where it has unpacked."""
    options: CoreOptions
    was: ImageVersion
    probation: Probation | None
    """What its version had to prove."""
