"""What the machine has run out of is told in words, whoever ran into it."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree import PUBLIC, JobCall, Plugin, Routes, Step, Steps, job, step
from rooftree.state.exhaustion import DiskFailing, DiskFull, DiskReadOnly, FileRefused, OutOfFiles, explained
from rooftree.testing import Client, running_system


def refusal(number: int) -> OSError:
    """As the system raises it for a file."""
    return OSError(number, os.strerror(number), "/data/apps/.options.json.1234")


@step("writing.write/1")
class Write(Step):
    """Write a file that can't be written."""

    async def do(self) -> None:
        raise refusal(errno.ENOSPC)


@job("writing")
async def writing() -> Steps:
    return [Write()]


routes = Routes()


@routes.post("/write", access=PUBLIC)
def write() -> JobCall[None]:
    """By a job."""
    return writing()


@routes.get("/open", access=PUBLIC)
async def open_file() -> None:
    """In the handler itself."""
    raise refusal(errno.EMFILE)


@routes.get("/bug", access=PUBLIC)
async def bug() -> None:
    """What is nobody's business but its author's."""
    raise refusal(errno.EISDIR)


class Writing(Plugin):
    """Has those routes."""

    name = "writing"

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with (
        running_system(tmp_path, plugins=[Writing], allow={"route_failed"}) as system,
        Client.over_unix(system) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, DiskReadOnly),
        (errno.EMFILE, OutOfFiles),
        (errno.ENFILE, OutOfFiles),
        (errno.EIO, DiskFailing),
        (errno.EACCES, FileRefused),
        (errno.EPERM, FileRefused),
    ],
)
def test_what_has_run_out_has_a_name_and_a_cure(number: int, kind: type) -> None:
    answer = explained(refusal(number))

    assert type(answer) is kind
    assert answer is not None and answer.status == 503
    assert any(cure in answer.message for cure in ("ry again", "Look at the host's log", "Give the user"))
    assert ("of /data/apps" in answer.message) is (kind is not OutOfFiles)


@pytest.mark.parametrize(
    "error", [refusal(errno.ENOENT), ValueError("28"), OSError("no number"), PermissionError(errno.EACCES, "no file")]
)
def test_other_errors_are_left_to_whom_they_concern(error: Exception) -> None:
    assert explained(error) is None


async def test_job_that_finds_the_disk_full_is_refused_in_words(client: Client) -> None:
    answer = await client.post("/write")

    assert (answer.status, answer.envelope["error_key"]) == (503, "disk_full_error")
    assert answer.message == "There is no space left on the disk of /data/apps. Free some, and try again"


async def test_handler_without_a_file_to_spare_is_refused_in_words_and_a_bug_is_told_as_one(client: Client) -> None:
    refused, broken = await client.get("/open"), await client.get("/bug")

    assert (refused.status, refused.envelope["error_key"]) == (503, "out_of_files_error")
    assert broken.status == 500 and "error_key" not in broken.envelope
