"""What the tests of a plugin need: a real system with chosen plugins, a client, and callers of every kind.

Nothing here is a stand-in: the system has its data folder, database, journal and listeners, and only the list of
installed plugins is the test's own::

    async def test_a_note_that_was_written_can_be_read(tmp_path):
        async with running_system(tmp_path, plugins=[NotesPlugin]) as system, Client.over_unix(system) as client:
            await client.post("/notes", json={"text": "milk"})

            assert (await client.get("/notes")).data == {"notes": ["milk"]}

Starting a second system on the same folder, when the first has stopped, is a restart. :class:`FakeClock` is the master
of time, :mod:`rooftree.testing.containers` has a container engine in memory, and :mod:`rooftree.testing.fixtures` the
fixtures for pytest.
"""

from rooftree.process import System
from rooftree.testing.client import Answer, Client
from rooftree.testing.clock import FakeClock
from rooftree.testing.failures import Failing
from rooftree.testing.principals import token_for
from rooftree.testing.running import InstalledPlugin, running_system
from rooftree.testing.step_trials import check_step

__all__ = [
    "Answer",
    "Client",
    "Failing",
    "FakeClock",
    "InstalledPlugin",
    "System",
    "check_step",
    "running_system",
    "token_for",
]
