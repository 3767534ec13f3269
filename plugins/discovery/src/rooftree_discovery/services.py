"""The services that add-ons provide to each other: who provides one, and how it is reached.

What a provider has said is kept, over a boot of the host too, so that it is there before the add-ons that want it
start. It counts while the provider is wanted to run; from one that its user has stopped another may take over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import field, frozen

from rooftree import Collection as Documents
from rooftree import (
    Conflict,
    Forbidden,
    Invalid,
    Kernel,
    NotFound,
    ParsedString,
    Principal,
    Secret,
    Service,
    document,
    structure,
    unstructure,
)
from rooftree.interfaces.hooks import ServiceKind, service_kinds
from rooftree_addons import Addons
from rooftree_containers import Desired
from rooftree_discovery.sealed_json import opened, sealed
from rooftree_discovery.service_kinds import KNOWN_KINDS
from rooftree_store import AddonSlug

PROVIDED_WITHIN_S: Final = 8.0
"""Seconds after which nobody waits any more for what an add-on provides that was just started."""

type ServiceData = dict[str, Any]
"""What a provider says of its service: which keys there are, says the kind of the service."""


class ServiceName(ParsedString):
    """The name of a kind of services."""

    __slots__ = ()

    pattern = r"[a-z0-9][a-z0-9_-]{0,63}"
    allowed = "at most 64 of a-z 0-9 _ -, with a letter or digit first"


class ServiceAlreadyProvided(Conflict):
    """Another add-on provides the service. ``extra_fields``: ``service``, ``app``."""

    error_key = "service_already_provided_error"


class ServiceNotProvided(NotFound):
    """No add-on has provided the service. ``extra_fields``: ``service``."""

    error_key = "service_not_provided_error"


@document("discovery.services", version=1)
@frozen(kw_only=True)
class ProvidedService:
    """What one add-on provides; the key is the service's name."""

    addon: AddonSlug
    data: Secret = field(repr=False)


@frozen
class ServiceSummary:
    """A service as the listing shows it."""

    slug: str
    available: bool
    providers: list[AddonSlug]
    """The installed add-ons that could provide it."""


class AddonServices:
    """The services, and the add-ons that provide them."""

    def __init__(self, kernel: Kernel, addons: Addons, provided: Documents[ProvidedService]) -> None:
        self._kernel = kernel
        self._addons = addons
        self._provided = provided
        self._taking = asyncio.Lock()
        self._news = asyncio.Event()
        """Set when somebody has provided something, and another one from then on."""

    async def listing(self) -> list[ServiceSummary]:
        """Every service that there can be."""
        return [
            ServiceSummary(name, self._available(name) is not None, list(self._providers(name)))
            for name in await self._kinds()
        ]

    async def data(self, name: ServiceName, caller: Principal) -> ServiceData:
        """How a service is reached, with its provider's slug as ``addon``; for the add-ons that name it.

        Raises :class:`~rooftree.NotFound` for a service that there is not, :class:`~rooftree.Invalid` for one that
        nobody provides now.
        """
        await self._kind(name)
        if not any(f"service:{name}:{entry}" in caller.grants for entry in ("provide", "need", "want")):
            raise Forbidden(f"{caller} may not read this: its configuration has no entry for it, services: {name}:want")
        service = self._available(name)
        if service is None:
            providers = ", ".join(self._providers(name))
            raise Invalid(
                f"No add-on provides {name} now. "
                + (f"Start one that can: {providers}" if providers else "Install and start one that does")
            )
        return {"addon": service.addon, **opened(service.data)}

    async def provide(self, name: ServiceName, caller: Principal, data: ServiceData) -> None:
        """Note how a service is reached that the caller provides, in place of what it said before.

        Raises :class:`ServiceAlreadyProvided` where another add-on does that is wanted to run.
        """
        kind = await self._kind(name)
        _refuse_who_does_not_provide(name, caller)
        content = unstructure(structure(data, kind.data))
        async with self._taking:  # two that begin at once: the second is refused
            service = self._available(name)
            if service is not None and service.addon != caller.id:
                raise ServiceAlreadyProvided(
                    f"{name} is provided by {service.addon} already. Stop or uninstall that first",
                    service=str(name),
                    app=str(service.addon),
                )
            provided = ProvidedService(addon=AddonSlug(caller.id), data=sealed(content))
            await self._kernel.commit(self._provided.put(name, provided))
        self._news.set()
        self._news = asyncio.Event()

    async def withdraw(self, name: ServiceName, caller: Principal) -> None:
        """Forget what the caller said of its service. Raises :class:`ServiceNotProvided` where nobody has said
        anything, :class:`~rooftree.Forbidden` where it was another."""
        await self._kind(name)
        _refuse_who_does_not_provide(name, caller)
        service = self._provided.get(name)
        if service is None:
            raise ServiceNotProvided(f"No add-on provides {name}", service=str(name))
        if service.addon != caller.id:
            raise Forbidden(f"{name} is provided by {service.addon}, and only that may withdraw it")
        await self._kernel.commit(self._provided.delete(name))

    async def until_provided(self, slug: str) -> None:
        """Wait until all is known that an add-on which runs provides, but for :data:`PROVIDED_WITHIN_S` at most: some
        declare what they do not do."""
        kinds = await self._kinds()
        with suppress(TimeoutError):
            async with asyncio.timeout(PROVIDED_WITHIN_S):
                while any(name in kinds for name in self._missing(AddonSlug(slug))):
                    await self._news.wait()

    def _missing(self, slug: AddonSlug) -> Sequence[str]:
        """What an add-on that runs provides, and nobody has said how it is reached."""
        addon = self._addons.installed.get(slug)
        if addon is None or not self._addons.runs(slug):
            return ()
        entries = addon.config.services or ()
        return [entry.service for entry in entries if entry.role == "provide" and entry.service not in self._provided]

    @property
    def owners(self) -> Collection[str]:
        """The add-ons that something is kept of."""
        return {service.addon for service in self._provided.values()}

    async def forget(self, slug: str) -> None:
        """Forget what an add-on provided."""
        names = [name for name, service in self._provided.items() if service.addon == slug]
        await self._kernel.commit(*(self._provided.delete(name) for name in names))

    def _available(self, name: str) -> ProvidedService | None:
        """What is kept of a service, where its provider is wanted to run."""
        service = self._provided.get(name)
        addon = self._addons.installed.get(service.addon) if service is not None else None
        return service if addon is not None and addon.desired is Desired.STARTED else None

    def _providers(self, name: str) -> Sequence[AddonSlug]:
        """The installed add-ons that declare to provide a service."""
        return [
            addon.slug
            for addon in self._addons.installed.values()
            if any(entry.service == name and entry.role == "provide" for entry in addon.config.services or ())
        ]

    async def _kind(self, name: ServiceName) -> ServiceKind:
        kinds = await self._kinds()
        if name not in kinds:
            raise NotFound(f"There is no service {name}; there are {', '.join(kinds)}")
        return kinds[name]

    async def _kinds(self) -> dict[str, ServiceKind]:
        """The kinds of services by name; nobody changes one that there is."""
        kinds = {kind.name: kind for kind in KNOWN_KINDS}
        for answer in await self._kernel.call(service_kinds):
            for kind in answer:
                kinds.setdefault(kind.name, kind)
        return kinds


def _refuse_who_does_not_provide(name: ServiceName, caller: Principal) -> None:
    if f"service:{name}:provide" not in caller.grants:
        raise Forbidden(f"{caller} may not do this: its configuration does not say services: {name}:provide")


ADDON_SERVICES = Service[AddonServices]("addon_services/1")
