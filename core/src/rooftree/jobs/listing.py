"""The list of jobs: those that are open, and the latest that ended and whose outcome nobody has waited for."""

from __future__ import annotations

from collections.abc import Iterator

from rooftree.errors import Invalid, NotFound
from rooftree.jobs.job_info import JobInfo, ended_info
from rooftree.jobs.journal import Journal
from rooftree.jobs.running import Job

LISTED = 100
"""Finished jobs that the jobs API shows at most: those that failed, and those whose caller did not wait."""


class JobList:
    """What the jobs API shows."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: dict[str, Job] = {}
        self._ended: dict[str, JobInfo] = {}

    async def load(self) -> None:
        """Read what is to be shown of earlier runs."""
        for info in reversed([ended_info(record) for record in await self._journal.listed_jobs(LISTED)]):
            self._show(info)

    def __iter__(self) -> Iterator[Job]:
        """The open jobs."""
        return iter(tuple(self._open.values()))

    def add(self, job: Job) -> None:
        """A job begins, or is taken up again."""
        self._open[job.id] = job

    def remove(self, job_id: str) -> None:
        """A job is not open any more."""
        self._open.pop(job_id, None)

    def end(self, job: Job, listed: bool) -> None:
        """A job has ended; from now on it is shown as it was then, or not at all."""
        self.remove(job.id)
        if listed:
            self._show(job.info())

    def _show(self, info: JobInfo) -> None:
        self._ended[info.uuid] = info
        while len(self._ended) > LISTED:
            self._ended.pop(next(iter(self._ended)))

    def find_open(self, job_id: str) -> Job | None:
        """The open job of that id."""
        return self._open.get(job_id)

    def named(self, job_id: str) -> str:
        """An open job in words."""
        job = self._open.get(job_id)
        return str(job) if job is not None else job_id

    def listing(self) -> list[JobInfo]:
        """Newest first."""
        infos = self._ended | {job.id: job.info() for job in self._open.values()}
        return sorted(infos.values(), key=lambda info: info.created, reverse=True)

    async def get(self, job_id: str) -> JobInfo:
        """One job or child of one, also one that has ended and is no longer listed; raises :class:`NotFound`."""
        shown = (*(job.info() for job in self._open.values()), *self._ended.values())
        info = next((info for root in shown if (info := root.find(job_id))), None)
        if info is None:
            record = await self._journal.find(job_id)
            info = ended_info(record).find(job_id) if record is not None else None
        if info is None:
            raise NotFound(f"There is no job {job_id}")
        return info

    async def forget(self, job_id: str) -> None:
        """Take an ended job off the list; raises :class:`NotFound`, or :class:`Invalid` while it runs."""
        if job_id in self._open:
            raise Invalid(f"Job {job_id} is not done yet; it can be taken off the list when it is")
        if job_id not in self._ended:
            raise NotFound(f"There is no job {job_id} on the list")
        await self._journal.forget(job_id)
        self._ended.pop(job_id, None)
