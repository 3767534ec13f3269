"""What happens here, as Core is told of it: what of it is told, when, and in which shape.

A message is ``{"event": …}`` and what belongs to it. Words are those that Core 2026.11 looks for. Other domains tell by
events of :mod:`rooftree.interfaces`; who is switched off has nothing to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

from attrs import asdict

from rooftree import Event, JobChanged, Kernel, ProblemCleared, ProblemReported
from rooftree.interfaces.addons import AddonStateChanged
from rooftree.interfaces.backups import BackupLocationChanged
from rooftree.interfaces.core import CoreLost, CoreReached
from rooftree.interfaces.network import InternetChanged
from rooftree.interfaces.resolution import IssueChanged, IssueRemoved
from rooftree.interfaces.store import StoreReloaded
from rooftree.interfaces.versions import VersionsChanged
from rooftree.process import SYSTEM, SystemState, SystemStateChanged
from rooftree_homeassistant.job_messages import JobMessages
from rooftree_homeassistant.outbox import Outbox

UPDATED_BY_VERSIONS: Final = {"core": "core", "os": "os", "services": "supervisor"}
"""What Core may show an update of, by what the version feed says something else of than before."""
MOUNT_JOBS: Final = {True: "mount_manager_create_mount", False: "mount_manager_remove_mount"}
"""The jobs after which Core looks for places for backups, by whether there is one more."""


class CoreMessages:
    """Listens to what happens, and puts into the outbox what Core should know."""

    def __init__(self, kernel: Kernel, outbox: Outbox) -> None:
        self._kernel = kernel
        self._outbox = outbox
        self._jobs = JobMessages()
        self._was_frozen = False
        self._unhealthy = self._reasons("unhealthy")
        self._unsupported = self._reasons("unsupported")
        self._tell: Mapping[type[Event], Callable[[Any], None]] = {
            SystemStateChanged: self._system_changed,
            CoreReached: self._core_changed,
            CoreLost: self._core_changed,
            JobChanged: self._job_changed,
            BackupLocationChanged: self._backup_location_changed,
            AddonStateChanged: self._addon_changed,
            StoreReloaded: self._store_reloaded,
            VersionsChanged: self._versions_changed,
            InternetChanged: self._internet_changed,
            ProblemReported: self._problems_changed,
            ProblemCleared: self._problems_changed,
            IssueChanged: self._issue_changed,
            IssueRemoved: self._issue_removed,
        }
        kernel.on(Event, self._happened)  # all by one listener: in the order in which it happened
        if kernel.service(SYSTEM).state_now in {
            SystemState.RUNNING,
            SystemState.FREEZE,
        }:  # the plugin was begun later than the others
            outbox.open()

    def _happened(self, event: Event) -> None:
        tell = self._tell.get(type(event))
        if tell is not None:
            tell(event)

    # --- the system ---------------------------------------------------------------------------------------------------

    def _system_changed(self, event: SystemStateChanged) -> None:
        match event.state:
            case SystemState.RUNNING:
                self._outbox.open()
                self._update("info", state=str(event.state))
                if not self._was_frozen:
                    self._update("supervisor", startup="complete")
                self._was_frozen = False
            case SystemState.FREEZE:
                self._update("info", state=str(event.state))
                self._was_frozen = True
            case SystemState.STOPPING:
                self._outbox.close()

    def _core_changed(self, _: CoreReached | CoreLost) -> None:
        self._outbox.look_again()

    def _versions_changed(self, event: VersionsChanged) -> None:
        for part in event.parts:
            self._update(UPDATED_BY_VERSIONS[part])

    def _internet_changed(self, event: InternetChanged) -> None:
        self._put(("network", event.whose), "supervisor_update", update_key="network",
                  data={f"{event.whose}_internet": event.reached})  # fmt: skip

    # --- what runs ----------------------------------------------------------------------------------------------------

    def _job_changed(self, event: JobChanged) -> None:
        for record in self._jobs.changed(event.job):
            self._put(("job", record["uuid"]), "job", data=record)

    def _backup_location_changed(self, event: BackupLocationChanged) -> None:
        """Other domains' places are listed among the mounts, and Core looks at these anew when a job of this name has
        ended, and at nothing else's."""
        record = {
            "name": MOUNT_JOBS[event.there], "reference": event.name, "uuid": uuid4().hex, "progress": 100.0,
            "stage": None, "done": True, "parent_id": None, "errors": [],
            "created": self._kernel.clock.now().isoformat(), "extra": None,
        }  # fmt: skip
        self._put(("backup_location", event.name), "job", data=record)

    def _addon_changed(self, event: AddonStateChanged) -> None:
        self._put(("addon", event.slug), "addon", slug=str(event.slug), state=str(event.state))

    def _store_reloaded(self, event: StoreReloaded) -> None:
        repositories = sorted(map(str, event.repositories))
        self._put(("store_reloaded", *repositories), "store_reloaded", data={"repositories": repositories})

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def _problems_changed(self, _: ProblemReported | ProblemCleared) -> None:
        if (unhealthy := self._reasons("unhealthy")) != self._unhealthy:
            self._unhealthy = unhealthy
            self._put(("health",), "health_changed",
                      data={"healthy": not unhealthy, "unhealthy_reasons": unhealthy})  # fmt: skip
        if (unsupported := self._reasons("unsupported")) != self._unsupported:
            self._unsupported = unsupported
            self._put(("supported",), "supported_changed",
                      data={"supported": not unsupported, "unsupported_reasons": unsupported or None})  # fmt: skip

    def _reasons(self, severity: str) -> list[str]:
        return sorted({problem.type for problem in self._kernel.problems if problem.severity == severity})

    def _issue_changed(self, event: IssueChanged) -> None:
        suggestions = [asdict(suggestion) for suggestion in event.suggestions]
        data = {**asdict(event.issue), "suggestions": suggestions}
        self._put(("issue", event.issue.uuid), "issue_changed", data=data)

    def _issue_removed(self, event: IssueRemoved) -> None:
        self._put(("issue", event.issue.uuid), "issue_removed", data=asdict(event.issue))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _update(self, key: str, **data: object) -> None:
        self._put(("supervisor_update", key, *data), "supervisor_update", update_key=key, data=data)

    def _put(self, about: tuple[str, ...], event: str, **fields: Any) -> None:
        self._outbox.put(about, {"event": event, **fields})
