"""What becomes of add-ons, for domains that keep something of theirs."""

from __future__ import annotations

from attrs import frozen

from rooftree.events import Event


@frozen
class AddonUninstalled(Event):
    """An add-on is not installed any more: what was kept for it can go. It may be told twice; and who did not run then
    hears nothing, so look once at the start, too."""

    slug: str


__all__ = ["AddonUninstalled"]
