"""The store's routes."""

from __future__ import annotations

from typing import Annotated

from rooftree import PUBLIC, Binary, FreeText, Invalid, JobCall, Media, NotFound, Role, Routes, role
from rooftree_store import repositories
from rooftree_store.catalogue import CHANGELOG, DOCUMENTATION, ICON, LOGO, README
from rooftree_store.files import ShownText, read_text, shown_text
from rooftree_store.models import (
    NewRepository,
    StoreAddon,
    StoreAddonDetails,
    StoreAddons,
    StoreListing,
    StoreRepository,
)
from rooftree_store.slugs import AddonSlug, RepositorySlug
from rooftree_store.store import AddonStore

routes = Routes()
MANAGER = role(Role.MANAGER)

Picture = Annotated[Binary, Media("image/png")]


class PictureMissing(Invalid):
    """The add-on has no such picture; 400, as clients expect."""


def store_revision(store: AddonStore) -> str:
    """Changes with what the listings show."""
    return store.revision


@routes.get("/store", access=MANAGER, revision=store_revision)
def listing(store: AddonStore) -> StoreListing:
    """Everything on offer, and the repositories it comes from."""
    return StoreListing(_addons(store), [StoreRepository.of(store, slug) for slug in store.sources])


@routes.get("/store/addons", access=MANAGER, revision=store_revision)
def addons(store: AddonStore) -> StoreAddons:
    """Every add-on on offer."""
    return StoreAddons(_addons(store))


def _addons(store: AddonStore) -> list[StoreAddon]:
    return [StoreAddon.of(store, offer) for offer in store.addons.values()]


@routes.get("/store/addons/{addon}", access=MANAGER)
async def addon(store: AddonStore, addon: AddonSlug) -> StoreAddonDetails:
    """One add-on on offer, or one that is installed and no longer is."""
    offer = store.shown(addon)
    return StoreAddonDetails.with_readme(store, offer, await read_text(store, offer, README))


@routes.get("/store/addons/{addon}/{version}", access=MANAGER)
async def addon_version(store: AddonStore, addon: AddonSlug, version: FreeText) -> StoreAddonDetails:
    """One add-on on offer; only its newest version is, so any other is not found."""
    offer = store.addon(addon)
    if version != offer.config.version:
        raise NotFound(f"The store offers {addon} in version {offer.config.version} only")
    return StoreAddonDetails.with_readme(store, offer, await read_text(store, offer, README))


@routes.get("/store/addons/{addon}/availability", access=MANAGER)
def addon_availability(store: AddonStore, addon: AddonSlug) -> None:
    """Whether an add-on can be installed here; the error says why not."""
    offer = store.addon(addon)
    store.refuse_unavailable(offer)


@routes.get("/store/addons/{addon}/icon", access=PUBLIC, aliases=("/addons/{addon}/icon",))
async def icon(store: AddonStore, addon: AddonSlug) -> Picture:
    """An add-on's icon."""
    return await _picture(store, addon, ICON)


@routes.get("/store/addons/{addon}/logo", access=PUBLIC, aliases=("/addons/{addon}/logo",))
async def logo(store: AddonStore, addon: AddonSlug) -> Picture:
    """An add-on's logo."""
    return await _picture(store, addon, LOGO)


@routes.get("/store/addons/{addon}/changelog", access=MANAGER)
async def changelog(store: AddonStore, addon: AddonSlug) -> ShownText:
    """An add-on's changelog, or a sentence that it has none."""
    return await shown_text(store, addon, CHANGELOG, "changelog")


@routes.get("/store/addons/{addon}/documentation", access=MANAGER)
async def documentation(store: AddonStore, addon: AddonSlug) -> ShownText:
    """An add-on's documentation, or a sentence that it has none."""
    return await shown_text(store, addon, DOCUMENTATION, "documentation")


async def _picture(store: AddonStore, slug: AddonSlug, name: str) -> Picture:
    content = await store.read_file(store.addon(slug), name)
    if content is None:
        raise PictureMissing(f"The add-on {slug} has no {name}")
    return Binary(content, "image/png")


@routes.post("/store/reload", access=MANAGER, aliases=("/addons/reload",))
def reload(store: AddonStore) -> JobCall[None]:
    """Fetch what is new in every repository."""
    return repositories.reload(repositories=tuple(store.sources))


@routes.post("/refresh_updates", access=MANAGER)
def refresh_updates(store: AddonStore) -> JobCall[None]:
    """Fetch what is new in every repository, and let the other domains ask for new versions of what they update."""
    return repositories.refresh_updates(repositories=tuple(store.sources))


@routes.get("/store/repositories", access=MANAGER)
def list_repositories(store: AddonStore) -> list[StoreRepository]:
    """The repositories."""
    return [StoreRepository.of(store, slug) for slug in store.sources]


@routes.post("/store/repositories", access=MANAGER)
def add_repository(store: AddonStore, body: NewRepository) -> JobCall[None]:
    """Add a repository. A login in the address is kept apart from it; for a repository that is there it is renewed."""
    call = repositories.add_repository(source=store.known_as(body.repository.source))
    return call.during(store.offered_logins([body.repository]))


@routes.get("/store/repositories/{repository}", access=MANAGER)
def repository(store: AddonStore, repository: RepositorySlug) -> StoreRepository:
    """One repository."""
    return StoreRepository.of(store, repository)


@routes.delete("/store/repositories/{repository}", access=MANAGER)
def remove_repository(repository: RepositorySlug) -> JobCall[None]:
    """Remove a repository that nothing installed comes from."""
    return repositories.remove_repository(repository=repository)


@routes.post("/store/repositories/{repository}/repair", access=MANAGER)
def repair_repository(repository: RepositorySlug) -> JobCall[None]:
    """Fetch a repository again from nothing."""
    return repositories.repair_repository(repository=repository)
