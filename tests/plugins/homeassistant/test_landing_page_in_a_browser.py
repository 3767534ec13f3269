"""The landing page as a user has it before them: it says how far the install is, and becomes Core's page by itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rooftree.testing.containers import FakeContainerEngine, FakeImage
from tests.plugins.homeassistant.first_home import first_home
from tests.plugins.homeassistant.house import NEW
from tests.plugins.homeassistant.listening import listening
from tests.real_core.rig.browser import BROWSER, browser_page
from tests.requirements import needs

pytestmark = needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")
CORE = b"<!doctype html><title>Home</title><p>This is Core's page"
EXPECTED = ("503 (Service Unavailable)", "ERR_CONNECTION_REFUSED", "favicon.ico")
"""What a browser complains of, and should: the page is none of Core's, and nobody answers in between."""
LEADS = shutil.which("nft") is not None and os.geteuid() == 0


@pytest.mark.parametrize(
    ("leads", "usual"),
    [
        pytest.param(True, True, marks=needs(LEADS, "needs root, and the command nft (package nftables)")),
        (False, False),
    ],
)
async def test_page_goes_on_by_itself_and_becomes_cores(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch, leads: bool, usual: bool
) -> None:
    fetching = engine.hold("pull")
    async with first_home(tmp_path, engine, monkeypatch, leads=leads) as home, browser_page(tmp_path) as page:
        await page.open(f"http://127.0.0.1:{home.ports.usual if usual else home.ports.core}/lovelace/0")
        await page.shows(f"Fetching version {NEW}")
        await page.shows("The registry does not have this version.")

        engine.publish_image(home.image(NEW), FakeImage(size=2 * 2**30))
        await page.shows("50%, 1.00 of 2.00 GiB")
        assert await page.evaluate("document.getElementById('bar').value") == 50
        assert [entry for entry in page.complaints if not any(known in entry for known in EXPECTED)] == []

        fetching.release()
        await home.until_installed()
        await page.shows(f"Starting version {NEW}" if leads else "Home Assistant starts")
        async with listening(home.ports.core, CORE):
            await page.shows("This is Core's page")
            assert await page.evaluate("location.href") == f"http://127.0.0.1:{home.ports.core}/"
        assert [entry for entry in page.complaints if not any(known in entry for known in EXPECTED)] == []
