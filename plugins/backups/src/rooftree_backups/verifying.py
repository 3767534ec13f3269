"""Whether a backup would come back whole: all of it is read where it is kept, and nothing is written."""

from __future__ import annotations

from rooftree import JobCall, Lock, NotFound, Run, Secret, Step, Steps, job, step
from rooftree.interfaces.backups import BackupDamaged, Verification
from rooftree_backups.catalogue import Backup, Copy
from rooftree_backups.kept_backups import KeptBackups

VERIFICATION = "backup_manager_verify"


@step("backups.verify/1")
class Verify(Step):
    """Read a backup whole, and keep what came of it."""

    slug: str
    location: str
    filename: str | None
    interruptible = True

    async def do(self, run: Run, backups: KeptBackups) -> None:
        """Read it; one that can't be opened is as damaged as one can be."""
        copy = _copy(await backups.catalogue.get(self.slug), self.location)
        password = backups.workshop.password(self.slug)
        try:
            async with await backups.places.reader(self.location, self.slug, copy.filename, password) as reader:
                outcome = await reader.verify(run.progress)
        except BackupDamaged as error:
            outcome = Verification(whole=False, authenticated=False, findings=(error.message,))
        await backups.verifications.keep(copy, outcome)

    async def undo(self, _: None) -> None:
        """Nothing was changed."""


@job(
    VERIFICATION,
    reference="slug",
    locks=lambda slug, location: {Lock("backup", slug, shared=True)},
)
async def verify_copy(backups: KeptBackups, slug: str, location: str) -> Steps:
    """Verify a backup in one of its places; a wrong password is told at once."""
    copy = _copy(await backups.catalogue.get(slug), location)
    password = backups.workshop.password(slug)
    try:
        async with await backups.places.reader(location, slug, copy.filename, password):
            pass
    except BackupDamaged:
        pass  # that is for the step to keep
    return [Verify(slug, location, copy.filename)]


def verification(backups: KeptBackups, slug: str, location: str, password: Secret | None) -> JobCall[None]:
    """The job that verifies a backup in one of its places."""
    return verify_copy(slug=slug, location=location).during(backups.workshop.with_password(slug, password))


def _copy(backup: Backup, location: str) -> Copy:
    copy = backup.at(location)
    if copy is None:
        raise NotFound(f"The backup {backup.head.slug} is not in {location}")
    return copy
