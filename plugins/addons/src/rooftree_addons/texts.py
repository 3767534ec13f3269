"""What an add-on's folder in the store says in words: its readme and its translations, read when they are asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from rooftree import RooftreeError
from rooftree_addons.addons import Addons
from rooftree_store import README, AddonSlug, TranslationTexts, parse_translation, read_document, read_text

log = structlog.get_logger(__name__)

_SUFFIXES = {".yaml", ".yml", ".json"}


async def readme(addons: Addons, slug: AddonSlug) -> str | None:
    """The long description, or ``None`` where there is none."""
    offer = addons.store.addons.get(slug)
    return await read_text(addons.store, offer, README) if offer else None


async def translations(addons: Addons, slug: AddonSlug) -> dict[str, TranslationTexts]:
    """The translations by language code; a file that cannot be read is left out."""
    offer = addons.store.addons.get(slug)
    if offer is None:
        return {}
    root = addons.store.repository_folder(offer.repository)
    return await asyncio.to_thread(_read, addons.store.path(offer) / "translations", root)


def _read(folder: Path, root: Path) -> dict[str, TranslationTexts]:
    found: dict[str, TranslationTexts] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix not in _SUFFIXES or not path.resolve().is_relative_to(root.resolve()):
            continue
        try:
            found[path.stem] = parse_translation(read_document(path).content).as_json()
        except RooftreeError as error:
            log.warning("translation_left_out", file=path.name, reason=error.message)
    return found
