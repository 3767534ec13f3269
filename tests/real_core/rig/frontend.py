"""Core's own frontend in a browser, as its owner has it before them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from yarl import URL

from tests.real_core.rig.browser import Page, browser_page
from tests.real_core.rig.core_user import CoreUser


@asynccontextmanager
async def signed_in(owner: CoreUser, folder: Path) -> AsyncIterator[Page]:
    """A page of a browser, in which the owner has signed in, as the frontend remembers that."""
    async with browser_page(folder, URL(owner.url).port or 80) as page:
        await page.open(f"{owner.url}/manifest.json")
        await page.shows("Home Assistant")
        remembered: dict[str, Any] = {**owner.tokens, "hassUrl": owner.url, "clientId": owner.client_id}
        script = f"const it = {json.dumps(remembered)}; it.expires = Date.now() + 1000 * it.expires_in;"
        await page.evaluate(f"(() => {{ {script} localStorage.setItem('hassTokens', JSON.stringify(it)); }})()")
        yield page
