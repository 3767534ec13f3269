"""Who clicks in a browser waits, as a user does, until what is to be clicked is there: pages that come into view by and
by, as Core's do."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.real_core.rig.browser import BROWSER, browser_page
from tests.requirements import needs

pytestmark = needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")

PAGE = """
<!DOCTYPE html><style>%s</style>
<section><button onclick="document.getElementById('said').textContent = 'Done'">Press</button></section><p id=said></p>
<div></div>
"""
COVERED = """
div { position: fixed; inset: 0; animation: gone 1s forwards; }
@keyframes gone { from { visibility: visible } to { visibility: hidden } }
"""
"""The first page of Core fades out above the one that is asked for."""
MOVING = """
button { animation: slide 0.5s linear }
@keyframes slide { from { margin-left: 1200px } to { margin-left: 0 } }
"""
CLOSED = """
section { overflow: hidden; height: 0; animation: open 1s forwards; }
@keyframes open { from { height: 0 } 50% { height: 0 } to { height: 200px } }
"""
"""A panel that opens has its content from the beginning."""


@pytest.mark.parametrize("style", [COVERED, MOVING, CLOSED])
async def test_click_waits_until_nothing_lies_on_a_thing_that_rests(tmp_path: Path, style: str) -> None:
    async with browser_page(tmp_path) as page:
        await page.open(f"data:text/html,{quote(PAGE % style)}")
        await page.click("Press")

        await page.shows("Done", within_s=2)
