"""The images that are on the engine because of an add-on: noted when they are needed, so that they can go when not."""

from __future__ import annotations

from attrs import frozen

from rooftree import document
from rooftree_store import AddonSlug


@document("addons.image", version=1)
@frozen
class BroughtImage:
    """An image that we have brought, named or built; its key is its name and tag."""

    slug: AddonSlug
    """For which add-on, the last time."""
