"""Core's domain of one container: what is known when it is written, and how it is known again when that was lost."""

from __future__ import annotations

import structlog
from attrs import evolve

from rooftree import Problem
from rooftree.clock import boot_id
from rooftree.interfaces.containers import Container
from rooftree_containers import Desired, ImageVersion
from rooftree_containers.lifetime import LABEL_VERSION
from rooftree_containers.observation import runs
from rooftree_containers.standing import StandingDomain
from rooftree_homeassistant.home_assistant import CONTEXT, CoreContainer
from rooftree_machine.home_assistant_os import newer

log = structlog.get_logger(__name__)

TAKEN_OVER = "core_taken_over"
"""The type of the problem that says that what was set of Core is lost."""


def version_shown(container: Container) -> ImageVersion | None:
    """The version and image of Core that a container is, by its label."""
    version = container.labels.get(LABEL_VERSION)
    return ImageVersion(version, container.image) if version is not None else None


class CoreDomain(StandingDomain[CoreContainer]):
    """The domain of Core's container."""

    def is_behind(self, name: str, container: Container) -> bool:
        """Whether Core was updated after the day that the database is of."""
        shown, document = version_shown(container), self.documents[name]
        return shown is not None and document.probation is None and newer(shown.version, document.version)

    async def take_over(self, name: str, container: Container) -> str | None:
        """Enter Core as its container shows it."""
        shown = version_shown(container)
        if shown is None:
            return "and nothing tells which version it is"
        known = self.documents.get(name)
        if known is not None:
            entered = evolve(known, version=shown.version, image=shown.image)
        else:
            desired = Desired.STARTED if runs(container) else Desired.STOPPED
            entered = CoreContainer(version=shown.version, image=shown.image, desired=desired, boot_id=await boot_id())
        await self.kernel.commit(self.documents.put(name, entered))
        log.warning("core_taken_over", version=shown.version, known=known.version if known else None)
        self.kernel.problems.report(
            Problem(
                TAKEN_OVER,
                CONTEXT,
                name,
                f"Home Assistant Core {shown.version} was lost from the database, or known there as an older version, "
                "and has been taken over from its container. What was set of it may be lost, too: look at /core/info",
            )
        )
        return None
