"""A process that has as many files open as it may: what is open goes on, what needs one more is refused in words, and
all is well again once there are some."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from pathlib import Path

import aiohttp
import pytest

from rooftree.process.system import System
from rooftree.state.database_file import StateUnwritable
from rooftree.testing import running_system
from tests.kernel.notebook import Notebook, make_room, notes_of, write_notes
from tests.kernel.served_process import served_process
from tests.torture.requirements import no_more_files

DEADLINE_S = 20.0


def problems_of(system: System) -> set[str]:
    return {problem.type for problem in system.problems}


async def test_changes_are_saved_and_copies_refused_without_a_file_to_spare(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Notebook]) as system:
        await system.jobs.run(write_notes(key="before"))

        with no_more_files():
            await system.jobs.run(write_notes(key="meanwhile"))
            await system._copy()
            assert problems_of(system) == {"state_copy_failed"}

        assert {path.name for path in (tmp_path / "data" / "copies").glob("*")} == set()
        await system._copy()
        assert problems_of(system) == set()
        await system.jobs.run(make_room(key="after"))
        expected = {"before-one", "before-two", "meanwhile-one", "meanwhile-two", "after"}
        assert notes_of(system) == expected
        await system.database.copy()  # nothing has changed since the last one, which is looked up
        with no_more_files(), pytest.raises(StateUnwritable):
            await system.database.copy()

    async with running_system(tmp_path, plugins=[Notebook]) as system:
        assert notes_of(system) == expected
        assert system.database.losses == ()


async def test_connections_beyond_the_limit_wait_while_the_open_ones_are_served(tmp_path: Path) -> None:
    async with served_process(tmp_path) as process, aiohttp.ClientSession() as session:
        address = f"http://127.0.0.1:{process.port}/quick"
        async with session.get(address) as answer:
            await answer.read()  # or the connection would not be kept
        limit = process.open_files + 30
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, hard))
        crowd = [socket.create_connection(("127.0.0.1", process.port)) for _ in range(100)]
        try:
            async with asyncio.timeout(DEADLINE_S):
                while process.open_files < limit:
                    await asyncio.sleep(0.01)
                for _ in range(20):
                    async with session.get(address) as answer:  # on the connection that it has kept
                        assert await answer.read()
        finally:
            for one in crowd:
                one.close()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with aiohttp.ClientSession() as fresh, fresh.get(address) as answer:
                        assert answer.status == 200
                        break
