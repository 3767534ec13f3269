"""An add-on's image: how it comes to be on the engine, and who needs it there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rooftree import Failed, RooftreeError, Step
from rooftree.interfaces.containers import ImageNotFound
from rooftree_addons.addons import Addons
from rooftree_addons.installed import DockerfileMissing, InstalledAddon, refuse_downgraded
from rooftree_containers.steps import BuildImage, PullImage
from rooftree_files import Folder
from rooftree_store import (
    AddonSlug,
    AddonStore,
    BuildFile,
    Offer,
    document_in,
    is_file,
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
    refuse_downgraded(image, str(config["version"]), on_engine.labels)
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
    with store.open_repository(offer.repository) as folder:
        dockerfile = _first_of(folder, offer, (f"Dockerfile.{arch}", "Dockerfile"))
        if dockerfile is None:
            raise DockerfileMissing(
                f"Add-on {offer.slug} names no image and has no Dockerfile to build one from", addon=str(offer.slug)
            )
        if not is_file(folder, offer.within(dockerfile)):
            raise Failed(f"The {dockerfile} of {offer.slug} is no file, or leads out of its repository")
        present = _first_of(folder, offer, BUILD_FILES)
        try:
            build = parse_build_file(document_in(folder, offer.within(present)).content) if present else BuildFile()
        except RooftreeError as error:
            raise Failed(f"The build file of {offer.slug} cannot be read: {error.message}") from None
    config = offer.config
    labels = {
        "io.hass.version": config.version,
        "io.hass.arch": arch,
        "io.hass.type": "addon",
        "io.hass.name": config.name.replace("'", ""),
        "io.hass.description": config.description.replace("'", ""),
        **({"io.hass.url": config.url} if config.url else {}),
        **build.labels,
    }
    arguments = {"BUILD_VERSION": config.version, "BUILD_ARCH": arch, **build.args}
    if present is not None:
        arguments["BUILD_FROM"] = build.base_image(arch)
    return BuildImage(image, offer.folder, dockerfile, arguments, labels)


def _first_of(folder: Folder, offer: Offer, names: Sequence[str]) -> str | None:
    """The first of an add-on's files that is there, whatever it is: one that leads out is no absent one."""
    return next((name for name in names if folder.status(offer.within(name)) is not None), None)
