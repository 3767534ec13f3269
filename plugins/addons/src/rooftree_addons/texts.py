"""What an add-on's folder in the store says in words: its readme and its translations, read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from rooftree_addons.addons import Addons
from rooftree_store import README, AddonSlug, TranslationTexts, read_text


async def readme(addons: Addons, slug: AddonSlug) -> str | None:
    """The long description, or ``None`` where there is none."""
    offer = addons.store.addons.get(slug)
    return await read_text(addons.store, offer, README) if offer else None


async def translations(addons: Addons, slug: AddonSlug) -> Mapping[str, TranslationTexts]:
    """The translations by language code; a file that cannot be read is left out."""
    offer = addons.store.addons.get(slug)
    return await addons.store.translations(offer) if offer else {}
