"""The shapes of the answers and bodies, as the contract has them."""

from __future__ import annotations

from attrs import field, frozen

from rooftree_discovery.messages import DiscoveryMessage, MessageConfig, MessageId
from rooftree_discovery.services import ServiceSummary
from rooftree_store import AddonSlug


@frozen
class Announcement:
    """What an add-on tells Core of itself."""

    service: str
    """What Core's integration for it is called."""
    config: MessageConfig = field(repr=False)


@frozen
class Announced:
    """By which id that is known."""

    uuid: MessageId


@frozen
class DiscoveryListing:
    """What Core may set up."""

    discovery: list[DiscoveryMessage]
    services: dict[str, list[AddonSlug]]
    """By service, the add-ons that could tell of one, installed or on offer."""


@frozen
class ServiceListing:
    """The services that add-ons provide to each other."""

    services: list[ServiceSummary]
