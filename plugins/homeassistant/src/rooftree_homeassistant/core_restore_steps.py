"""The steps that put Core back from a backup, and the job that gives up what they took the place of.

What is secret of it (the refresh token) stays out of the journal: a step reads it where it lies unpacked, and what it
takes the place of is a document.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from attrs import fields_dict

from rooftree import Failed, Run, Step, Steps, step
from rooftree.clock import boot_id
from rooftree.services import ServiceDirectory
from rooftree_containers import Desired, ImageVersion
from rooftree_containers.container_steps import Creating, StartingRestored
from rooftree_containers.steps import RemoveImage
from rooftree_containers.update_steps import DropKeptData
from rooftree_files import Folder
from rooftree_homeassistant import core_record
from rooftree_homeassistant.core_container import PLUGIN
from rooftree_homeassistant.core_jobs import forward
from rooftree_homeassistant.home_assistant import HOME_ASSISTANT, NAME, CoreContainer, HomeAssistant
from rooftree_homeassistant.replaced_core import ReplacedCore
from rooftree_homeassistant.whereabouts import CoreMoved


class RestoredCoreFails(Failed):
    """Core ran, does not work as it was restored, and is what it was again."""

    status = 400
    error_key = "homeassistant_restore_failed_error"


@step("homeassistant.put_restored/1")
class PutRestoredCore(Step):
    """Note that Core is installed; it is to run once all of it is back."""

    version: str
    image: str
    stage = "home_assistant"

    async def before(self, core: HomeAssistant) -> bool:
        """Whether it was installed."""
        return core.installed is not None

    async def do(self, core: HomeAssistant) -> None:
        if core.installed is None:
            document = CoreContainer(
                version=self.version, image=self.image, desired=Desired.STOPPED, boot_id=await boot_id()
            )
            await core.put(document)

    async def undo(self, was_installed: bool, core: HomeAssistant) -> None:
        """Let it be installed no longer."""
        if not was_installed and core.installed is not None:
            await core.containers.lifetimes.revoke_tokens(NAME)
            await core.remove()


@step("homeassistant.restore_options/1")
class RestoreOptions(Step):
    """Take over what was set of Core when it was backed up."""

    name: str
    folder: str
    """Where its part is unpacked, relative to the data folder."""
    version: str = ""
    """The one that was backed up; for the plan."""
    stage = "home_assistant"

    async def notes(self, core: HomeAssistant) -> list[str]:
        """From which version to which."""
        if core.installed is None:
            return [f"Home Assistant Core {self.version} is installed; there is none now"]
        return [f"Home Assistant Core goes from version {core.installed.version} to {self.version}"]

    async def do(self, core: HomeAssistant) -> None:
        """Set it; what was set is kept. What an update before had to prove is of no interest any more."""
        record = await asyncio.to_thread(self._record, core)
        kept, installed = core.replaced.get(NAME), core.installed
        if installed is None:  # its lock is held: nobody takes it away
            return
        if kept is None or kept.restore != self.folder:
            was = ImageVersion(installed.version, installed.image)
            kept = ReplacedCore(restore=self.folder, options=core.options, was=was, probation=installed.probation)
        restored = {} if record is None else {name: getattr(record, name) for name in fields_dict(type(record))}
        await core.kernel.commit(
            core.replaced.put(NAME, kept),
            core.changing_options(**restored),
            core.changing_container(probation=None),
        )
        core.kernel.publish(CoreMoved())

    def _record(self, core: HomeAssistant) -> core_record.CoreRecord | None:
        documents: dict[str, bytes] = {}
        with Folder.open(core.kernel.data.path) as root, suppress(FileNotFoundError):
            path = f"{self.folder}/documents/{core_record.CORE_FILE}"
            documents[core_record.CORE_FILE] = root.read(path, core_record.MOST_BYTES)
        return core_record.read(documents)[0]

    async def undo(self, _: None, core: HomeAssistant) -> None:
        """Set what was set."""
        kept = core.replaced.get(NAME)
        if kept is None or kept.restore != self.folder:  # nothing was done, or it was taken back
            return
        names = fields_dict(core_record.CoreRecord)
        await core.kernel.commit(
            core.changing_options(**{name: getattr(kept.options, name) for name in names}),
            core.changing_container(probation=kept.probation),
            core.replaced.delete(NAME),
        )
        core.kernel.publish(CoreMoved())


@step("homeassistant.create_restored/1")
class CreateRestoredCore(Creating):
    """Make a fresh container for Core as it was restored, which knows the job that restores it."""

    name: str
    plugin: str
    new_version: bool = False
    fresh = True
    stage = "home_assistant"

    async def do(self, run: Run, services: ServiceDirectory) -> None:
        with services.get(HOME_ASSISTANT).restored_by(run.job_id):
            await super().do(run, services)


@step("homeassistant.start_restored/1")
class StartRestoredCore(StartingRestored):
    """Start Core as it was restored; where it does not work and worked before, all is as it was."""

    name: str
    plugin: str
    must_run: bool
    stage = "home_assistant"

    async def notes(self, core: HomeAssistant) -> list[str]:
        """How long Core is away."""
        if not self.must_run or core.installed is None:
            return []
        took_s = core.installed.start_took_s
        about = "until it has come up again" if took_s is None else f"for about {took_s:.0f} s, as its last start took"
        return [f"Home Assistant Core is away {about} (an estimate: what was unpacked takes its place by renaming)"]

    def restored_fails(self, version: str, failure: str) -> RestoredCoreFails:
        return RestoredCoreFails(
            f"Home Assistant Core does not work as it was restored (version {version}): {failure}. What was there "
            "before is back"
        )


@step("homeassistant.forget_replaced/1")
class ForgetReplaced(Step):
    """Forget what was set of Core before a restore."""

    name: str

    async def do(self, core: HomeAssistant) -> None:
        if self.name in core.replaced:
            await core.kernel.commit(core.replaced.delete(self.name))


@forward("home_assistant_core_tidy_restore", makes_room=True)
async def tidy(core: HomeAssistant) -> Steps:
    """Give up what a restore took the place of, once that has ended: this waits for it, and where it was taken back
    there is nothing to do."""
    kept, installed = core.replaced.get(NAME), core.installed
    if kept is None or installed is None:
        return []
    probations = [probation for probation in (kept.probation, installed.probation) if probation is not None]
    needed = {installed.image, *(probation.was.image for probation in probations if probation is installed.probation)}
    unneeded = {kept.was.image, *(probation.was.image for probation in probations)} - needed
    return [
        *map(RemoveImage, sorted(unneeded)),
        *([RemoveImage(kept.probation.kept.image)] if kept.probation else []),
        *([DropKeptData(NAME, PLUGIN, kept.probation.kept.folder)] if kept.probation else []),
        ForgetReplaced(NAME),
    ]
