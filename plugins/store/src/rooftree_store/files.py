"""What an add-on's folder says in words: changelog, documentation, readme."""

from __future__ import annotations

from typing import Annotated

from rooftree import Media, Text
from rooftree_store.catalogue import Offer
from rooftree_store.slugs import AddonSlug
from rooftree_store.store import AddonStore

ShownText = Annotated[Text, Media("text/markdown", "text/plain")]
"""One of an add-on's texts, or a sentence that it has none."""


async def shown_text(store: AddonStore, slug: AddonSlug, name: str, what: str) -> ShownText:
    """One of an add-on's texts; clients show whatever comes, so a missing one is a sentence and no error."""
    offer = store.addons.get(slug)
    text = await read_text(store, offer, name) if offer else None
    if text is None:
        return Text(f"No {what} found for add-on {slug}!")
    return Text(text, "text/markdown")


async def read_text(store: AddonStore, offer: Offer, name: str) -> str | None:
    """One of an add-on's text files, or ``None`` where it has none."""
    content = await store.read_file(offer, name)
    return None if content is None else content.decode("utf-8", "replace")
