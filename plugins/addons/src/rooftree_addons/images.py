"""An add-on's image: how it comes to be on the engine, and who needs it there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rooftree import Invalid, RooftreeError, Step
from rooftree.interfaces.containers import ImageNotFound
from rooftree_addons.addons import Addons
from rooftree_addons.installed import DockerfileMissing, InstalledAddon, label_text, refuse_downgraded
from rooftree_containers.steps import BuildImage, PullImage
from rooftree_files import Folder, PathRefused
from rooftree_files.dockerfile import read_dockerfile
from rooftree_store import (
    AddonSlug,
    AddonStore,
    BuildFile,
    Offer,
    Places,
    build_arguments,
    dockerfile_of,
    document_in,
    missing_bases,
    parse_build_file,
    pick_arch,
)

BUILD_FILES = ("build.yaml", "build.yml", "build.json")


def is_needed_by_others(addons: Addons, slug: AddonSlug, image: str) -> bool:
    """Whether an installed add-on other than that one runs as the image."""
    return any(other.image == image for other in addons.installed.values() if other.slug != slug)


async def known_digest(addons: Addons, image: str, config: Mapping[str, Any]) -> str | None:
    """What the registry knows an image by that has just been fetched; ``None`` for one that was built here.

    Raises :class:`~rooftree_addons.installed.ImageDowngraded` for one that says that it is older than ``config`` does.
    """
    if config.get("image") is None:
        return None
    on_engine = await addons.engine.image(image)
    if on_engine is None:
        return None
    refuse_downgraded(image, config, on_engine.labels)
    name = image.rpartition(":")[0]
    return next((digest.rpartition("@")[2] for digest in on_engine.digests if digest.rpartition("@")[0] == name), None)


async def missing_image(addons: Addons, addon: InstalledAddon) -> Sequence[Step]:
    """What brings back an image that somebody took away. One that was built is never asked of a registry: whatever
    has its name there is a stranger's."""
    if await addons.engine.image(addon.image) is not None:
        return []
    if addon.config.image is not None:
        return [PullImage(addon.image, addon.digest)]
    offer = addons.store.addons.get(addon.slug)
    if offer is None or offer.config.version != addon.version:
        raise ImageNotFound(
            f"The image of {addon.slug} is gone, and the store has no version {addon.version} to build it from; update "
            "the add-on, or install it again",
            image=addon.image,
        )
    return [await bring_image(addons.store, offer)]


async def bring_image(store: AddonStore, offer: Offer) -> Step:
    """The step that makes an offer's image be there: a pull, or a build where its config names no image."""
    image = store.image(offer)
    if offer.config.image is not None:
        return PullImage(image)
    arch = pick_arch(offer.config, store.machine.supported_arch)
    return await asyncio.to_thread(_build, store, offer, image, arch)


def _build(store: AddonStore, offer: Offer, image: str, arch: str) -> BuildImage:
    with store.open_repository(offer.repository) as repository:
        build = _build_file(repository, offer)
        arguments = build_arguments(build, offer.config.version, arch)
        with repository.folder(offer.place) if offer.place else repository as folder:
            dockerfile = _checked_dockerfile(folder, offer, arch, arguments)
    config = offer.config
    labels = {
        "io.hass.version": config.version,
        "io.hass.arch": arch,
        "io.hass.type": "addon",
        "io.hass.name": label_text(config.name),
        "io.hass.description": label_text(config.description),
        **({"io.hass.url": config.url} if config.url else {}),
        **(build.labels if build else {}),
    }
    return BuildImage(image, offer.folder, dockerfile, arguments, labels)


def _build_file(repository: Folder, offer: Offer) -> BuildFile | None:
    name = next((name for name in BUILD_FILES if repository.status(offer.within(name)) is not None), None)
    if name is None:
        return None
    places = Places()
    try:
        content = document_in(repository, offer.within(name), places).content
    except RooftreeError as error:
        raise Invalid(f"The build file of {offer.slug} cannot be read: {error.message}") from None
    return parse_build_file(content, places.written)


def _checked_dockerfile(folder: Folder, offer: Offer, arch: str, arguments: Mapping[str, str]) -> str:
    """The name of the Dockerfile, which is there and has an image to begin with."""
    name = dockerfile_of(folder, arch)
    if name is None:
        raise DockerfileMissing(
            f"Add-on {offer.slug} names no image and has no Dockerfile to build one from", addon=str(offer.slug)
        )
    try:
        text = (read_dockerfile(folder, name) or b"").decode(errors="replace")
    except PathRefused as error:
        raise Invalid(f"Add-on {offer.slug} cannot be built: its {error}") from None
    for base in missing_bases(text, arguments):
        raise Invalid(f"Add-on {offer.slug} cannot be built. Line {base.line} of its {name}: FROM {base.reason}")
    return name
