"""The translations of add-ons, read when somebody asks for them.

Reading takes time that an add-on's author decides: so each version of a folder is read once, by one thread, whoever
asks; what is kept has a limit; and when nobody waits any more, the reading ends.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from attrs import define, field, frozen

from rooftree import RooftreeError
from rooftree_files import Folder, FolderMissing, PathRefused, TreeTooLarge, printable
from rooftree_store.catalogue import Offer, open_repository
from rooftree_store.readers import sentence
from rooftree_store.slugs import AddonSlug
from rooftree_store.translations import (
    MAX_LANGUAGES,
    TRANSLATIONS,
    TranslationTexts,
    language_files,
    parse_translation,
)
from rooftree_store.yaml_files import content_in, cost_of_refused, parse_document
from rooftree_workers import to_thread_stoppable

log = structlog.get_logger(__name__)

MOST_NAMES: Final = 10_000
"""A folder of translations with more entries has none for us."""
MAX_TEXTS_BYTES: Final = 6 * 1024**2
"""What the translations of one add-on may take in memory; those beyond are left out. Thirty languages of fifty options
take 2 MB."""
MAX_CACHED_BYTES: Final = 24 * 1024**2
"""What those of all add-ons may take together; who was not asked for longest goes first."""

type _Stamp = tuple[tuple[str, int, int, int, int], ...]


@frozen
class _Texts:
    """The translations in one version of a folder."""

    stamp: _Stamp
    by_language: Mapping[str, TranslationTexts]
    cost_bytes: int


@define
class _Reading:
    """A reading that is under way, and how many wait for it."""

    task: asyncio.Task[_Texts]
    waiting: int = 0


class ReadingStopped(Exception):
    """Nobody waits for it any more."""


@define
class Languages:
    """Reads translations, and keeps the last that were asked for."""

    _executor: Executor
    _kept: OrderedDict[AddonSlug, _Texts] = field(factory=OrderedDict)
    _readings: dict[AddonSlug, _Reading] = field(factory=dict)

    async def of(self, repository: Path, offer: Offer) -> Mapping[str, TranslationTexts]:
        """The translations of an add-on in a repository's folder, by language code."""
        reading = self._readings.get(offer.slug)
        if reading is None:
            task = asyncio.create_task(self._read(repository, offer), name=f"read translations of {offer.slug}")
            reading = self._readings[offer.slug] = _Reading(task)
            task.add_done_callback(partial(self._forget, offer.slug, reading))
        reading.waiting += 1
        try:
            return (await asyncio.shield(reading.task)).by_language
        finally:
            reading.waiting -= 1
            if not reading.waiting and not reading.task.done():
                self._forget(offer.slug, reading)  # whoever asks now begins anew
                reading.task.cancel()

    def _forget(self, slug: AddonSlug, reading: _Reading, _: asyncio.Task[_Texts] | None = None) -> None:
        if self._readings.get(slug) is reading:
            del self._readings[slug]

    async def _read(self, repository: Path, offer: Offer) -> _Texts:
        known = self._kept.get(offer.slug)
        texts = await to_thread_stoppable(self._executor, read_translations, repository, offer, known)
        self._kept[offer.slug] = texts
        self._kept.move_to_end(offer.slug)
        while sum(kept.cost_bytes for kept in self._kept.values()) > MAX_CACHED_BYTES:
            self._kept.popitem(last=False)
        return texts


def read_translations(stop: Callable[[], bool], repository: Path, offer: Offer, known: _Texts | None) -> _Texts:
    """Read an add-on's translations, or give back ``known`` where nothing has changed since. Blocks."""
    try:
        with open_repository(repository) as folder:
            try:
                with folder.folder(offer.within(TRANSLATIONS), links=True) as there:
                    names = language_files(there.names(most=MOST_NAMES))[:MAX_LANGUAGES]
            except (PathRefused, TreeTooLarge) as error:
                log.warning("translations_left_out", addon=offer.slug, reason=error.message)
                names = []
            except (FileNotFoundError, NotADirectoryError):
                names = []
            stamp = _stamp(stop, folder, offer, names)
            return known if known is not None and known.stamp == stamp else _texts(stop, folder, offer, names, stamp)
    except FolderMissing:
        return _Texts((), {}, 0)


def _stamp(stop: Callable[[], bool], folder: Folder, offer: Offer, names: list[str]) -> _Stamp:
    return tuple(_look(stop, folder, offer.within(f"{TRANSLATIONS}/{name}"), name) for name in names)


def _look(stop: Callable[[], bool], folder: Folder, path: str, name: str) -> tuple[str, int, int, int, int]:
    if stop():
        raise ReadingStopped
    try:
        status = folder.status(path, links=True)
    except PathRefused:
        status = None
    return (name, *_changes(status)) if status is not None else (name, 0, 0, 0, 0)


def _changes(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _texts(stop: Callable[[], bool], folder: Folder, offer: Offer, names: list[str], stamp: _Stamp) -> _Texts:
    by_language: dict[str, TranslationTexts] = {}
    cost_bytes = 0
    for name in names:
        if stop():
            raise ReadingStopped
        path = offer.within(f"{TRANSLATIONS}/{name}")
        reason = None
        try:
            data = content_in(folder, path).data
            cost_bytes += cost_of_refused(len(data))
            document = parse_document(data, path)
            cost_bytes += document.cost_bytes - cost_of_refused(len(data))
            translation = parse_translation(document.content)
        except RooftreeError as error:
            reason = error.message
        if reason is None and cost_bytes > MAX_TEXTS_BYTES:
            reason = f"the translations of the add-on take more than {MAX_TEXTS_BYTES // 1024**2} MiB up to here"
        if reason is None:
            by_language[name.rpartition(".")[0]] = translation.as_json()
            if translation.findings:
                log.warning("texts_left_out", file=printable(path), reason=sentence(translation.findings))
        else:
            log.warning("translation_left_out", file=printable(path), reason=reason)
        if cost_bytes > MAX_TEXTS_BYTES:
            break
    return _Texts(stamp, dict(sorted(by_language.items())), cost_bytes)
