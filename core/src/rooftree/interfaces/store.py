"""What becomes of the catalogue of add-ons, for domains that tell others of it."""

from __future__ import annotations

from attrs import frozen

from rooftree.events import Event


@frozen
class StoreReloaded(Event):
    """The catalogue was read anew, and these repositories offer something else than before."""

    repositories: tuple[str, ...]
    """Their slugs."""


__all__ = ["StoreReloaded"]
