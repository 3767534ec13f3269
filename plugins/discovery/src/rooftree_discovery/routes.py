"""The routes of Discovery and Service."""

from __future__ import annotations

from typing import Final

from rooftree import Principal, Role, Routes, role
from rooftree.interfaces.callers import ANY_ADDON, CORE_ONLY
from rooftree_discovery.messages import DiscoveryMessage, DiscoveryMessages, MessageId
from rooftree_discovery.models import Announced, Announcement, DiscoveryListing, ServiceListing
from rooftree_discovery.services import AddonServices, ServiceData, ServiceName
from rooftree_store import AddonSlug

routes = Routes()

MAX_BODY: Final = 64 * 1024
"""Bytes that are kept of one message, or of one service."""


# --- discovery --------------------------------------------------------------------------------------------------------


@routes.get("/discovery", access=CORE_ONLY)
def discovery(messages: DiscoveryMessages) -> DiscoveryListing:
    """The messages of the add-ons that run, and which add-ons could send some."""
    return DiscoveryListing(messages.tell_all(), messages.senders())


@routes.post("/discovery", access=ANY_ADDON, max_body=MAX_BODY)
async def announce(messages: DiscoveryMessages, body: Announcement, caller: Principal) -> Announced:
    """Tell Core of a service of the add-on that calls; again, with what has changed."""
    return Announced(await messages.announce(AddonSlug(caller.id), body.service, body.config))


@routes.get("/discovery/{uuid}", access=CORE_ONLY)
def message(messages: DiscoveryMessages, uuid: MessageId) -> DiscoveryMessage:
    """One message."""
    return messages.get(uuid)


@routes.delete("/discovery/{uuid}", access=ANY_ADDON)
async def withdraw_message(messages: DiscoveryMessages, uuid: MessageId, caller: Principal) -> None:
    """Take back a message of the add-on that calls."""
    await messages.withdraw(uuid, caller.id)


# --- services ---------------------------------------------------------------------------------------------------------


@routes.get("/services", access=role(Role.DEFAULT) | ANY_ADDON)
async def services(services: AddonServices) -> ServiceListing:
    """The services that add-ons provide to each other."""
    return ServiceListing(await services.listing())


@routes.get("/services/{service}", access=ANY_ADDON)
async def service(services: AddonServices, service: ServiceName, caller: Principal) -> ServiceData:
    """How a service is reached; for the add-ons whose configuration names it."""
    return await services.data(service, caller)


@routes.post("/services/{service}", access=ANY_ADDON, max_body=MAX_BODY)
async def provide_service(services: AddonServices, service: ServiceName, body: ServiceData, caller: Principal) -> None:
    """Say how a service is reached that the add-on that calls provides; again, in place of what it said before."""
    await services.provide(service, caller, body)


@routes.delete("/services/{service}", access=ANY_ADDON)
async def withdraw_service(services: AddonServices, service: ServiceName, caller: Principal) -> None:
    """Take back what the add-on that calls has said of its service."""
    await services.withdraw(service, caller)
