"""Containers of ours whose add-on is not installed, as far as we know: what a kill can leave, or what a loss has.

A container that carries our instance's label was made by us. When its add-on is not known, either a job was killed
between two steps, or our memory is worse than the engine's: the database was lost, or is that of an older day. So what
runs is never removed, and nothing is while the state is known to be damaged. There the labels tell slug, version and
token, the store's catalogue the configuration, and the add-on's folder the options that it was started with: where all
of them are there, the add-on is taken over as it runs. What can't be is left as it is, and reported.
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
from rooftree_addons.addons import ADOPTED, UNKNOWN, Addons
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.container import LABEL_VERSION, OPTIONS_FILE, data_folder
from rooftree_addons.images import known_digest
from rooftree_addons.installed import Desired, InstalledAddon
from rooftree_files import Folder
from rooftree_store import AddonSlug, Offer, is_update

log = structlog.get_logger(__name__)

STATE_DAMAGED: Final = "state_damaged"
"""The kernel's problem that says that something stored was lost; it stays until somebody has seen to it."""
MOST_OPTION_BYTES: Final = 16 * 1024 * 1024


def state_is_damaged(addons: Addons) -> bool:
    """Whether something that was stored is known to be lost: then what we do not know may be there all the same."""
    return any(problem.type == STATE_DAMAGED for problem in addons.kernel.problems)


class UnknownContainers:
    """Decides what becomes of them; the table is in docs/architecture.md."""

    def __init__(self, addons: Addons) -> None:
        self._addons = addons
        self._reported: set[AddonSlug] = set()

    @property
    def waiting(self) -> bool:
        """Whether there are some that could be taken over if the store had their version."""
        return bool(self._reported)

    async def look(self, shown: Mapping[AddonSlug, Container]) -> None:
        """Take over, leave and report, or remove what is shown of add-ons that are not installed."""
        damaged = state_is_damaged(self._addons)
        unknown = {
            slug: container
            for slug, container in shown.items()
            if slug not in self._addons.installed or (damaged and self._is_newer_than_known(slug, container))
        }
        for slug in self._reported_ever() - unknown.keys():
            self._addons.kernel.problems.clear(UNKNOWN, "addon", slug)
        self._reported &= unknown.keys()
        for slug, container in unknown.items():
            try:
                now = await self._addons.engine.container(container.name)  # a job may have seen to it meanwhile
                if now is not None:
                    await self._settle(slug, now, damaged)
            except (RooftreeError, OSError) as error:
                log.warning("unknown_container_not_settled", container=container.name, reason=str(error))

    def _reported_ever(self) -> set[AddonSlug]:
        problems = self._addons.kernel.problems
        return {AddonSlug(problem.reference or "") for problem in problems if problem.type == UNKNOWN}

    def _is_newer_than_known(self, slug: AddonSlug, container: Container) -> bool:
        """Whether the add-on was updated after the day that the database is of."""
        version = container.labels.get(LABEL_VERSION)
        on_probation = slug in self._addons.probations
        return version is not None and not on_probation and is_update(version, self._addons.installed[slug].version)

    async def _settle(self, slug: AddonSlug, container: Container, damaged: bool) -> None:
        runs = container.status is ContainerStatus.RUNNING
        if not damaged:
            if slug in self._addons.installed:  # by a job that was quicker
                return
            if runs:
                self._report(slug, container, "which was never installed as far as is known")
            else:
                await self._remove(slug, container)
            return
        offer = self._addons.store.addons.get(slug)
        version = container.labels.get(LABEL_VERSION)
        if offer is None:
            self._report(slug, container, "which no repository offers; it is taken over when one does")
        elif offer.config.version != version:
            self._report(slug, container, f"of which the store has version {offer.config.version} only")
        else:
            await self._take_over(slug, container, offer, runs)

    async def _take_over(self, slug: AddonSlug, container: Container, offer: Offer, runs: bool) -> None:
        """Enter an add-on as installed from what its container, the store and its folder tell."""
        addons, config = self._addons, offer.config.normalised()
        digest = await known_digest(addons, container.image, config)
        noted = addons.images.put(container.image, BroughtImage(slug))
        known = addons.installed.get(slug)
        if known is not None:
            await addons.change(slug, lambda now: now.with_version(container.image, digest, config))
            await addons.kernel.commit(noted)
            self._addons.kernel.problems.clear(UNKNOWN, "addon", slug)
            log.warning("addon_version_taken_over", addon=slug, known=known.version, version=offer.config.version)
            return
        taken = {addon.ingress_port for addon in addons.installed.values() if addon.ingress_port}
        addon = InstalledAddon.fresh(slug, container.image, config, taken, digest)
        options = await asyncio.to_thread(_options, addons.kernel.data.path, slug)
        addon = evolve(addon, options=_chosen(addon, options), desired=Desired.STARTED if runs else Desired.STOPPED)
        await addons.kernel.commit(addons.installed.put(slug, addon), noted)
        self._reported.discard(slug)
        addons.kernel.problems.clear(UNKNOWN, "addon", slug)
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

    def _report(self, slug: AddonSlug, container: Container, why: str) -> None:
        self._reported.add(slug)
        version = container.labels.get(LABEL_VERSION, "of an unknown version")
        engine_name = self._addons.engine.name_on_engine(container.name)
        self._addons.kernel.problems.report(
            Problem(
                UNKNOWN,
                "addon",
                slug,
                f"The container {engine_name} belongs to the add-on {slug} ({version}), {why}. It is left as it is. "
                f"Install or update the add-on, or remove the container (docker rm -f {engine_name})",
                extra={"container": engine_name, "version": version},
            )
        )

    async def _remove(self, slug: AddonSlug, container: Container) -> None:
        await self._addons.engine.remove(container.name)
        await self._addons.revoke_tokens(slug)
        self._reported.discard(slug)
        self._addons.kernel.problems.clear(UNKNOWN, "addon", slug)
        log.warning("orphan_removed", container=container.name)


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
