"""What becomes of add-ons, for domains that keep something of theirs."""

from __future__ import annotations

from attrs import frozen

from rooftree.events import Event


@frozen
class AddonStateChanged(Event):
    """An add-on started, ended or failed."""

    slug: str
    state: str
    """``started``, ``stopped``, ``startup``, ``error`` or ``unknown``, as the API has it."""


@frozen
class AddonUninstalled(Event):
    """An add-on is not installed any more: what was kept for it can go. It may be told twice; and who did not run then
    hears nothing, so look once at the start, too."""

    slug: str


@frozen
class IngressPanelChanged(Event):
    """Whether an add-on has an entry in the sidebar was set, perhaps to what it was; or it is another version now."""

    slug: str
    enabled: bool


__all__ = ["AddonStateChanged", "AddonUninstalled", "IngressPanelChanged"]
