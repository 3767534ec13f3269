"""The watchdog by address: add-ons whose configuration says where they answer are asked, and restarted if they do not.

All are asked side by side, so that one that hangs costs the others nothing. A miss is remembered; the second in a row
means a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import aiohttp
import structlog
from yarl import URL

from rooftree import Kernel, RooftreeError
from rooftree_addons import verbs
from rooftree_addons.addons import Addons, AddonState
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonSlug, WatchdogTarget, resolve_watchdog

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(seconds=120)
CONNECT_S: Final = 0.5
"""Seconds that a TCP connection may take."""
ANSWER_S: Final = 10.0
"""Seconds that an HTTP answer may take."""
GOOD_BELOW: Final = 300
"""HTTP statuses from here on are no sign of health; redirections are followed, on the add-on's own host only."""
MOST_REDIRECTIONS: Final = 5
_REDIRECTIONS: Final = frozenset({301, 302, 303, 307, 308})


class UrlWatchdog:
    """Asks add-ons whether they are well."""

    def __init__(self, kernel: Kernel, addons: Addons) -> None:
        self._kernel = kernel
        self._addons = addons
        self._missed: dict[AddonSlug, str] = {}
        self._restarts: dict[AddonSlug, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Ask every add-on that is to be watched and runs."""
        asked = [addon for addon in self._addons.installed.values() if self._is_asked(addon)]
        self._missed = {addon.slug: self._missed[addon.slug] for addon in asked if addon.slug in self._missed}
        if not asked:
            return
        gateway = (await self._addons.engine.network()).gateway
        # Certificates of add-ons are made out for names that we do not know them by.
        connector = aiohttp.TCPConnector(ssl=False, limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(ANSWER_S)) as session:
            said = await asyncio.gather(*(self._complaint(session, addon, gateway) for addon in asked))
        self._judge({addon.slug: complaint for addon, complaint in zip(asked, said, strict=True)})

    def _is_asked(self, addon: InstalledAddon) -> bool:
        return (
            addon.watchdog
            and addon.config.watchdog is not None
            and self._addons.state(addon.slug) is AddonState.STARTED
            and addon.slug not in self._restarts
        )

    async def _complaint(self, session: aiohttp.ClientSession, addon: InstalledAddon, gateway: str) -> str | None:
        """What is wrong with an add-on's answer, or ``None``."""
        host = gateway if addon.config.host_network else self._addons.address(addon.slug)
        if host is None or addon.config.watchdog is None:
            return None  # it ended just now: the engine's events tell the other watchdog
        target = resolve_watchdog(
            addon.config.watchdog,
            host=host,
            host_network=addon.config.host_network,
            ports=addon.ports or {},
            options=addon.effective_options,
        )
        try:
            return await (_refusal(target) if target.scheme == "tcp" else _bad_answer(session, target))
        except TimeoutError:
            return f"{target.url} does not answer in time"
        except (aiohttp.ClientError, OSError, ValueError, OverflowError) as error:  # the last for a port beyond 65535
            return f"{target.url}: {error}"

    def _judge(self, complaints: Mapping[AddonSlug, str | None]) -> None:
        for slug, complaint in complaints.items():
            if complaint is None:
                self._missed.pop(slug, None)
            elif slug in self._missed:
                log.warning("watchdog_restarts", addon=slug, reason=complaint)
                del self._missed[slug]
                self._restart(slug)
            else:
                log.warning("watchdog_missed", addon=slug, reason=complaint)
                self._missed[slug] = complaint

    def _restart(self, slug: AddonSlug) -> None:
        """Restart an add-on beside everything else: it may have to wait behind another job of its."""
        task = asyncio.get_running_loop().create_task(self._run(slug), name=f"watchdog of {slug}")
        self._restarts[slug] = task
        task.add_done_callback(lambda _: self._restarts.pop(slug, None))

    async def _run(self, slug: AddonSlug) -> None:
        try:
            await self._kernel.jobs.run(verbs.restart_if_desired, slug=slug)
        except RooftreeError as error:
            log.warning("watchdog_failed", addon=slug, reason=error.message)

    async def stop(self) -> None:
        """Wait no longer for restarts; their jobs go on."""
        tasks = list(self._restarts.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _refusal(target: WatchdogTarget) -> str | None:
    async with asyncio.timeout(CONNECT_S):
        _, writer = await asyncio.open_connection(target.host, target.port)
    writer.close()
    return None


async def _bad_answer(session: aiohttp.ClientSession, target: WatchdogTarget) -> str | None:
    """Ask, without reading what is answered. An add-on that sends us elsewhere would let us ask for it what only this
    host can reach: that it answered at all is good enough then."""
    url = URL(target.url)
    for _ in range(MOST_REDIRECTIONS + 1):
        async with session.get(url, allow_redirects=False) as response:
            if response.status not in _REDIRECTIONS:
                return None if response.status < GOOD_BELOW else f"{url} answered with status {response.status}"
            onward = url.join(URL(response.headers.get("Location", "")))
        if onward.host != url.host or onward.scheme not in {"http", "https"}:
            return None
        url = onward
    return f"{target.url} leads round in circles"
