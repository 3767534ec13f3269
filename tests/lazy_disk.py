"""A disk that is not waited for.

What a process has written outlives its end, however that comes: only a power cut could show whether it was flushed, and
to wait for it was a third of all time. That the product does flush is held to by child processes that know nothing of
this: ``tests/kernel/test_database.py`` and ``tests/torture``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from rooftree.state import database_file

_DURABLE, _LAZY = "synchronous = FULL", "synchronous = OFF"


@contextmanager
def lazy_disk() -> Iterator[None]:
    """Nothing that this process writes is flushed during the block."""
    assert _DURABLE in database_file._PRAGMAS
    pragmas = tuple(_LAZY if pragma == _DURABLE else pragma for pragma in database_file._PRAGMAS)
    with mock.patch.object(database_file, "_PRAGMAS", pragmas), mock.patch.object(os, "fsync", _only_looked_at):
        yield


def _only_looked_at(descriptor: int) -> None:
    os.fstat(descriptor)
