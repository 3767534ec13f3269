"""A journal and its gateway, as the tests of this domain use them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.host.journal import GatewayProcess, gateway


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A short path: that of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="rooftree-") as folder:
        yield Path(folder)


@pytest.fixture
def served(tmp_path: Path, socket_folder: Path) -> Iterator[GatewayProcess]:
    """The gateway to the journal in ``tmp_path / "journal"``, which is empty."""
    folder = tmp_path / "journal"
    folder.mkdir(exist_ok=True)
    with gateway(folder, socket_folder) as process:
        yield process
