"""A repository with a thousand add-ons: what it may cost to read, to read again, and to keep."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rooftree_store.catalogue import ConfigReader, read_contents
from rooftree_store.slugs import RepositorySlug
from tests.rig.files import write_files
from tests.rig.pace import on_this_machine

REPOSITORY = RepositorySlug("0123abcd")
ADDONS = 1000
COLD_S = 1.0
"""Processor seconds: a quarter of one here, and room for a slow machine."""
UNCHANGED_S = 0.15
KEPT_BYTES = 6_000
"""For each add-on, its own texts included."""


def config(number: int) -> str:
    """A configuration as large as real ones are."""
    options = {f"option_{name}": f"value {number}" for name in range(12)}
    return json.dumps(
        {
            "name": f"Add-on {number}",
            "version": f"1.{number}",
            "slug": f"addon-{number}",
            "description": f"The add-on with the number {number}, which has a description of some length",
            "arch": ["aarch64", "amd64", "armv7"],
            "url": f"https://example.com/addons/{number}",
            "image": f"ghcr.io/example/{{arch}}-addon-{number}",
            "ports": {"8080/tcp": 8080, f"{1000 + number}/udp": None},
            "map": ["share:rw", "ssl", "media:rw"],
            "environment": {"NUMBER": str(number)},
            "options": options,
            "schema": {**dict.fromkeys(options, "str"), "log_level": "list(debug|info|warning)?", "port": "port?"},
        }
    )


KEEPS = """
import gc, sys, tracemalloc
from pathlib import Path
from rooftree_store.catalogue import ConfigReader, read_contents
from rooftree_store.slugs import RepositorySlug

data, repository = Path(sys.argv[1]), RepositorySlug(sys.argv[2])
reader = ConfigReader()
gc.collect()
tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
contents = read_contents(data, data / "apps" / "git" / repository, repository, reader)
gc.collect()
print(len(contents.offers), tracemalloc.get_traced_memory()[0] - before)
"""
"""Reads the repository, and prints how many add-ons it has and how many bytes are kept for them."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the repository."""
    data = tmp_path_factory.mktemp("data")
    files = {f"addon-{number}/config.json": config(number) for number in range(ADDONS)}
    files |= {f"addon-{number}/icon.png": "x" for number in range(ADDONS)}
    write_files(data / "apps" / "git" / REPOSITORY, {"repository.yaml": "name: Large\n", **files})
    return data


def test_reading_them_and_reading_them_again_stays_within_bounds(data: Path) -> None:
    folder, reader = data / "apps" / "git" / REPOSITORY, ConfigReader()

    started = time.thread_time()  # of this thread: others that tests left work too
    first = read_contents(data, folder, REPOSITORY, reader)
    cold = time.thread_time() - started
    unchanged = []
    for _ in range(3):  # a collection of all the garbage of this process may come in one of them
        started = time.thread_time()
        again = read_contents(data, folder, REPOSITORY, reader)
        unchanged.append(time.thread_time() - started)
        assert again == first

    assert len(first.offers) == ADDONS
    assert cold < on_this_machine(COLD_S)
    assert min(unchanged) < on_this_machine(UNCHANGED_S)


def test_keeping_them_stays_within_bounds(data: Path) -> None:
    # In a process of its own: here, threads that other tests left allocate too.
    measured = subprocess.run(
        [sys.executable, "-c", KEEPS, data, REPOSITORY], capture_output=True, text=True, check=True
    )
    offers, kept = map(int, measured.stdout.split())

    assert offers == ADDONS
    assert kept < ADDONS * KEPT_BYTES
