"""How far the first install of Core is, for the landing page: what it waits for, what it fetches, what went wrong.

The page is open to everybody, so what went wrong is said there in sentences of our own. What an error says by itself
may name registries and addresses; it is in the problem, for who may read those.
"""

from __future__ import annotations

import enum
from typing import Final

from attrs import evolve, frozen

from rooftree import Kernel, NotFound, Problem, RooftreeError, Service
from rooftree.interfaces.containers import (
    EngineDiskFull,
    EngineRefused,
    EngineUnavailable,
    ImageForOtherPlatform,
    ImageNotFound,
    RegistryLoginRefused,
    RegistryRateLimited,
)
from rooftree.interfaces.versions import VersionsUnknown

WAITS: Final = "core_install_waits"
"""The type of the problem that says why Core could not be installed so far."""


class NoCoreForMachine(NotFound):
    """The version feed has no Core for this machine."""

    error_key = "homeassistant_no_version_error"


class PrivilegesPerhapsRefused(EngineRefused):
    """The engine does not start Core, which wants all rights; not every engine can give those."""


class Stage(enum.StrEnum):
    """Where the install is."""

    WAITING = "waiting"
    """For the container engine, or for another job."""
    LOOKING = "looking"
    """For the newest version."""
    FETCHING = "fetching"
    STARTING = "starting"
    STOPPED = "stopped"
    """Somebody cancelled it; it goes on when somebody says so."""
    FAILED = "failed"
    """It is installed, and could not be started."""


@frozen(kw_only=True)
class Progress:
    """A picture of the install."""

    stage: Stage = Stage.WAITING
    version: str | None = None
    """The one that is installed, once it is known."""
    fetched_bytes: int = 0
    total_bytes: int = 0
    """0 while it is not known."""
    trouble: str | None = None
    """What went wrong last, in a sentence of ours; ``None`` while all is well."""


class Installation:
    """The install of Core, as others see it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.progress = Progress()

    def enter(self, stage: Stage, version: str | None = None) -> None:
        """It has come that far, and what went wrong is over."""
        self.progress = Progress(stage=stage, version=version)
        self.clear()

    def fetched(self, done_bytes: int, total_bytes: int) -> None:
        """So much of the image is here. What went wrong is over once that is more than ever before."""
        if done_bytes > self.progress.fetched_bytes:
            if self.progress.trouble is not None:
                self.clear()
            self.progress = evolve(self.progress, fetched_bytes=done_bytes, total_bytes=total_bytes, trouble=None)

    def note(self, error: RooftreeError) -> None:
        """Something went wrong, which is tried again."""
        self.progress = evolve(self.progress, trouble=_sentence(error))
        self._kernel.problems.report(Problem(WAITS, "core", None, f"Core is not installed yet: {error.message}"))

    def note_not_started(self, version: str, error: RooftreeError) -> None:
        """It is installed, and could not be started."""
        self.progress = Progress(stage=Stage.FAILED, version=version, trouble=_known_sentence(error))
        self.clear()

    def clear(self) -> None:
        """Nothing is wrong any more."""
        self._kernel.problems.clear(WAITS, "core")


_SENTENCES: Final[dict[type[RooftreeError], str]] = {
    VersionsUnknown: "The list of versions can't be read. Is this machine connected to the internet?",
    NoCoreForMachine: "The list of versions has no Home Assistant Core for this machine.",
    EngineUnavailable: "The container engine does not answer.",
    ImageNotFound: "The registry does not have this version.",
    ImageForOtherPlatform: "This version is not made for this machine.",
    RegistryRateLimited: "The registry was asked too often, and wants a pause.",
    RegistryLoginRefused: "The registry refuses the login, or wants one.",
    EngineDiskFull: "There is no room left on the disk.",
    PrivilegesPerhapsRefused: (
        "The container engine refuses to start it. Where it can't give a container all rights, because it runs in one "
        "itself, say privileged = false in [plugins.homeassistant] of rooftree.toml, and restart Rooftree."
    ),
}


def _sentence(error: RooftreeError) -> str:
    return _known_sentence(error) or "It did not work. Is this machine connected to the internet?"


def _known_sentence(error: RooftreeError) -> str | None:
    return next((sentence for kind, sentence in _SENTENCES.items() if isinstance(error, kind)), None)


INSTALLATION = Service[Installation]("homeassistant.installation/1")
