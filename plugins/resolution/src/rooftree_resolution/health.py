"""The health check: what domains look at rather than hear of; after the start, by the clock, and when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Self

import structlog
from attrs import frozen

from rooftree import Collection, Failed, Kernel, RooftreeError, Service, document
from rooftree.interfaces import hooks
from rooftree.interfaces.hooks import HealthCheck
from rooftree_resolution.models import CheckNotFound, ListedCheck

log = structlog.get_logger(__name__)

EVERY: Final = timedelta(hours=1)
CHECK_S: Final = 30.0
"""Seconds that a check may take."""


@document("resolution.check", version=1)
@frozen
class CheckChoice:
    """Whether somebody wants a check; kept by its name for those that nobody wants."""

    enabled: bool


class Health:
    """Runs the checks."""

    def __init__(self, kernel: Kernel, choices: Collection[CheckChoice]) -> None:
        self._kernel = kernel
        self._choices = choices

    @classmethod
    async def load(cls, kernel: Kernel) -> Self:
        """With what was chosen."""
        return cls(kernel, await kernel.collection(CheckChoice))

    async def listing(self) -> list[ListedCheck]:
        """Every check there is, by name."""
        return [ListedCheck(slug=slug, enabled=self._is_enabled(slug)) for slug in sorted(await self._checks())]

    async def check_all(self) -> None:
        """Run every check that is enabled, side by side; one that fails is logged, and keeps none of the others."""
        checks = await self._checks()
        await asyncio.gather(*(self._run_or_log(check) for slug, check in checks.items() if self._is_enabled(slug)))

    async def check(self, slug: str) -> None:
        """Run one, enabled or not; raises :class:`CheckNotFound`, and why it could not be run."""
        check = await self._check(slug)
        try:
            await self._run(check)
        except RooftreeError:
            raise
        except Exception as error:
            log.exception("check_failed", check=slug)
            raise Failed(f"The check {slug} failed ({type(error).__name__}): {error}. The log says more") from error

    async def enable(self, slug: str, enabled: bool) -> None:
        """Let a check be among those that are run, or not; raises :class:`CheckNotFound`."""
        await self._check(slug)
        if enabled != self._is_enabled(slug):
            await self._kernel.commit(
                self._choices.delete(slug) if enabled else self._choices.put(slug, CheckChoice(False))
            )

    def _is_enabled(self, slug: str) -> bool:
        return slug not in self._choices

    async def _checks(self) -> Mapping[str, HealthCheck]:
        """By name; where two plugins have one of a name, it is that of the first by the plugin's own."""
        answers: list[Any] = [*await self._kernel.call(hooks.health_checks)]  # whatever plugins' methods gave
        return {
            check.slug: check
            for checks in reversed(answers)
            for check in (checks if isinstance(checks, list | tuple) else ())
            if isinstance(check, HealthCheck)  # what is none must not spoil the list of all others
        }

    async def _check(self, slug: str) -> HealthCheck:
        checks = await self._checks()
        if slug not in checks:
            there = ", ".join(sorted(checks)) or "none"
            raise CheckNotFound(f"There is no check {slug}; there are {there}", check=slug)
        return checks[slug]

    async def _run_or_log(self, check: HealthCheck) -> None:
        try:
            await self._run(check)
        except Exception as error:
            log.warning("check_failed", check=check.slug, reason=f"{type(error).__name__}: {error}", exc_info=True)

    async def _run(self, check: HealthCheck) -> None:
        try:
            async with asyncio.timeout(CHECK_S):
                await check.run()
        except TimeoutError:
            raise Failed(f"The check {check.slug} did not end within {CHECK_S:g} s") from None


HEALTH = Service[Health]("resolution.health/1")
