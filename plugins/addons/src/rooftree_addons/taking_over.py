"""Taking an add-on over that runs and that the database does not know (any more).

The labels of its container tell slug, version and token, the store's catalogue the configuration, and its folder the
options that it was started with: where all of them are there, it is entered as it runs. When that is done, and what
becomes of other unknown containers, is the library's affair (``rooftree_containers.unknown_containers``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from attrs import evolve

from rooftree import Problem, RooftreeError
from rooftree.interfaces.containers import Container, ContainerStatus
from rooftree_addons.addons import ADOPTED, Addons
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.container import OPTIONS_FILE, data_folder
from rooftree_addons.images import known_digest
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.ports import taken_page_ports
from rooftree_containers import Desired
from rooftree_containers.lifetime import LABEL_VERSION
from rooftree_files import Folder
from rooftree_store import AddonSlug, Offer, is_update

log = structlog.get_logger(__name__)

MOST_OPTION_BYTES: Final = 16 * 1024 * 1024


def is_behind(addons: Addons, slug: AddonSlug, container: Container) -> bool:
    """Whether an installed add-on was updated after the day that the database is of."""
    version = container.labels.get(LABEL_VERSION)
    on_probation = slug in addons.probations
    return version is not None and not on_probation and is_update(version, addons.installed[slug].version)


async def take_over(addons: Addons, slug: AddonSlug, container: Container) -> str | None:
    """Enter an add-on as installed; why that can't be, as the rest of a sentence, or ``None``."""
    offer = addons.store.addons.get(slug)
    if offer is None:
        return "which no repository offers; it is taken over when one does"
    if offer.config.version != container.labels.get(LABEL_VERSION):
        return f"of which the store has version {offer.config.version} only"
    known = addons.installed.get(slug)
    if known is not None:
        await _take_version_over(addons, known, container, offer)
    else:
        await _enter(addons, slug, container, offer)
    return None


async def _take_version_over(addons: Addons, known: InstalledAddon, container: Container, offer: Offer) -> None:
    slug, config = known.slug, offer.config.normalised()
    digest = await known_digest(addons, container.image, config)
    taken = await asyncio.to_thread(taken_page_ports, addons.installed, slug)
    await addons.change(slug, lambda now: now.with_version(container.image, digest, config, taken))
    await addons.kernel.commit(addons.images.put(container.image, BroughtImage(slug)))
    log.warning("addon_version_taken_over", addon=slug, known=known.version, version=offer.config.version)


async def _enter(addons: Addons, slug: AddonSlug, container: Container, offer: Offer) -> None:
    config = offer.config.normalised()
    digest = await known_digest(addons, container.image, config)
    taken = await asyncio.to_thread(taken_page_ports, addons.installed, slug)
    addon = InstalledAddon.fresh(slug, container.image, config, taken, digest)
    options = await asyncio.to_thread(_options, addons.kernel.data.path, slug)
    runs = container.status is ContainerStatus.RUNNING
    addon = evolve(addon, options=_chosen(addon, options), desired=Desired.STARTED if runs else Desired.STOPPED)
    noted = addons.images.put(container.image, BroughtImage(slug))
    await addons.kernel.commit(addons.installed.put(slug, addon), noted)
    addons.tell_store()
    log.warning("addon_taken_over", addon=slug, version=addon.version, container=container.name)
    addons.kernel.problems.report(
        Problem(
            ADOPTED,
            "addon",
            slug,
            f"Add-on {slug} {addon.version} was lost from the database and has been taken over from its container, "
            "with the options that it was started with. Its other settings (ports, protection, start with the "
            "host, updates, watchdog) are those of a new installation: look at them before you restart it",
        )
    )


def _options(data: Path, slug: AddonSlug) -> dict[str, Any]:
    """What the add-on was started with; nothing where that can't be read. Blocks."""
    try:
        with Folder.open(data) as root, root.folder(data_folder(slug)) as own:
            options = orjson.loads(own.read(OPTIONS_FILE, MOST_OPTION_BYTES))
    except (OSError, RooftreeError, orjson.JSONDecodeError) as error:
        log.warning("options_not_taken_over", addon=slug, reason=str(error))
        return {}
    return options if isinstance(options, dict) else {}


def _chosen(addon: InstalledAddon, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that its user must have chosen: the add-on knows them, and they differ from its defaults."""
    schema, defaults = addon.config.schema, addon.config.options
    known = options if schema is None else {key: options[key] for key in options if key in schema.root.fields}
    return {key: value for key, value in known.items() if key not in defaults or defaults[key] != value}
