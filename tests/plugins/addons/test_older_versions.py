"""What an older version of Rooftree has left on the disk: its documents and its journal's steps."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from rooftree import Step, unstructure
from rooftree.state.database_file import document_sum
from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers.probation_watch import SUSPECT_S
from tests.plugins.addons.house import HELLO, done, house

KEPT = {
    "image": "rooftree-kept:1",
    "folder": f"apps/kept/{HELLO}/1",
    "folders": [{"live": f"apps/data/{HELLO}", "copy": f"apps/kept/{HELLO}/1/data"}],
}
WAS = {"version": "1.0", "image": "hello:1.0", "config_json": "{}", "digest": None}
STEPS: dict[str, dict[str, Any]] = {
    "addons.create_data_folder/1": {"slug": HELLO},
    "addons.set_desired/1": {"slug": HELLO, "desired": "started"},
    "addons.create_container/1": {"slug": HELLO, "new_version": True},
    "addons.start_container/1": {"slug": HELLO, "must_run": True},
    "addons.stop_container/1": {"slug": HELLO},
    "addons.remove_container/1": {"slug": HELLO, "stop_timeout_s": 10},
    "addons.keep_data/1": {"slug": HELLO, "kept": KEPT},
    "addons.begin_probation/1": {"slug": HELLO, "version": "2.0", "was": WAS, "kept": KEPT, "profile": None},
    "addons.keep_failed_log/1": {"slug": HELLO, "kept": KEPT},
    "addons.put_back_data/1": {"slug": HELLO, "kept": KEPT},
    "addons.put_back_version/1": {"slug": HELLO, "reason": "it ended with exit code 1"},
    "addons.end_probation/1": {"slug": HELLO, "folder": KEPT["folder"]},
    "addons.drop_kept_data/1": {"folder": KEPT["folder"]},
}
"""As they stood in journals when the add-ons had these steps to themselves."""


@pytest.mark.parametrize("kind", STEPS)
def test_steps_of_older_journals_are_what_they_were(kind: str) -> None:
    step = Step.from_journal(kind, STEPS[kind])

    written = unstructure(step)
    for folder in written.get("kept", {}).get("folders", ()):
        assert folder.pop("stays") == []  # which folders have since: nothing of an add-on's stays
    assert (step.kind, written) == (kind, STEPS[kind])


async def test_probation_that_an_older_version_began_goes_on(tmp_path: Path, engine: FakeContainerEngine) -> None:
    clock = FakeClock()
    async with house(tmp_path, engine, clock=clock) as home:
        await home.run()
        await home.offer(version="2.0")
        done(await home.client.post(f"/store/addons/{HELLO}/update"))
        database = home.data / "rooftree.db"
    make_older(database)

    async with house(tmp_path, engine, clock=clock) as home:
        await home.quiet()
        known = home.addons.probations[HELLO]
        engine.crash(f"app_{HELLO}")
        await home.let_pass(clock, timedelta(seconds=SUSPECT_S))

        assert (known.was.version, known.version, known.failure) == ("1.0", "2.0", None)
        assert home.installed().version == "1.0"


def make_older(database: Path) -> None:
    """Let the document be as version 1 had it."""
    where = "collection = 'addons.probation'"
    with closing(sqlite3.connect(database)) as connection, connection:
        ((key, body),) = connection.execute(f"SELECT key, body FROM document WHERE {where}").fetchall()
        content = orjson.loads(body)
        assert content.pop("failure") is None
        older = orjson.dumps(content)
        checked = document_sum(b"addons.probation", key.encode(), 1, older)
        connection.execute(f"UPDATE document SET version = 1, body = ?, sum = ? WHERE {where}", (older, checked))
