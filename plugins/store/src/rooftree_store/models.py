"""The shapes of the store's answers and bodies, as the contract has them."""

from __future__ import annotations

from typing import Any, Self

from attrs import frozen

from rooftree_store.assessment import rating
from rooftree_store.catalogue import CHANGELOG, DOCUMENTATION, ICON, LOGO, Offer
from rooftree_store.logins import RepositoryAddress
from rooftree_store.slugs import RepositorySlug
from rooftree_store.store import AddonStore


@frozen(kw_only=True)
class StoreAddon:
    """An add-on as a listing shows it."""

    advanced: bool
    """Always false: the ecosystem has given the idea up."""
    arch: list[str]
    available: bool
    build: bool
    description: str
    documentation: bool
    homeassistant: str | None
    icon: bool
    installed: bool
    logo: bool
    name: str
    repository: str
    slug: str
    stage: str
    update_available: bool
    url: str | None
    version_latest: str
    version: str | None
    """The installed version, or ``None``."""

    @classmethod
    def of(cls, store: AddonStore, offer: Offer) -> Self:
        """The listing's view of an offer."""
        return cls(**_short(store, offer))


@frozen(kw_only=True)
class StoreAddonDetails(StoreAddon):
    """An add-on as its own page shows it."""

    apparmor: str
    auth_api: bool
    changelog: bool
    detached: bool
    docker_api: bool
    full_access: bool
    hassio_api: bool
    hassio_role: str
    homeassistant_api: bool
    host_network: bool
    host_pid: bool
    ingress: bool
    long_description: str | None
    rating: int
    signed: bool

    @classmethod
    def with_readme(cls, store: AddonStore, offer: Offer, readme: str | None) -> Self:
        """The page of an offer; ``readme`` is its long description."""
        config = offer.config
        return cls(
            **_short(store, offer),
            apparmor="default" if config.apparmor else "disable",
            auth_api=config.auth_api,
            changelog=CHANGELOG in offer.files,
            detached=offer.slug not in store.addons,
            docker_api=config.docker_api,
            full_access=config.full_access,
            hassio_api=config.hassio_api,
            hassio_role=config.hassio_role,
            homeassistant_api=config.homeassistant_api,
            host_network=config.host_network,
            host_pid=config.host_pid,
            ingress=config.ingress,
            long_description=readme,
            rating=rating(config),
            signed=False,
        )


def _short(store: AddonStore, offer: Offer) -> dict[str, Any]:
    config = offer.config
    installed = store.installed.get(offer.slug)
    return {
        "advanced": False,
        "arch": list(config.arch),
        "available": not store.unavailable(offer),
        "build": config.image is None,
        "description": config.description,
        "documentation": DOCUMENTATION in offer.files,
        "homeassistant": config.homeassistant,
        "icon": ICON in offer.files,
        "installed": installed is not None,
        "logo": LOGO in offer.files,
        "name": config.name,
        "repository": offer.repository,
        "slug": offer.slug,
        "stage": config.stage,
        "update_available": installed is not None and installed.update_available,
        "url": config.url,
        "version_latest": config.version,
        "version": installed.version if installed else None,
    }


@frozen(kw_only=True)
class StoreRepository:
    """A repository."""

    slug: str
    name: str
    source: str
    url: str
    maintainer: str

    @classmethod
    def of(cls, store: AddonStore, slug: RepositorySlug) -> Self:
        """One repository; what it does not say of itself is "unknown"."""
        source = store.source(slug)
        description = store.description(slug)
        return cls(
            slug=slug,
            name=(description.name if description else None) or "unknown",
            source=source,
            url=(description.url if description else None) or source.url,
            maintainer=(description.maintainer if description else None) or "unknown",
        )


@frozen
class StoreListing:
    """Everything in the store."""

    addons: list[StoreAddon]
    repositories: list[StoreRepository]


@frozen
class StoreAddons:
    """Every add-on in the store."""

    addons: list[StoreAddon]


@frozen
class NewRepository:
    """A repository to add, or whose login is to be renewed."""

    repository: RepositoryAddress
