"""What holds for the tests of every domain: a machine whose devices are read once, and a share whose server is gone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from rooftree_host.udev import Entry, Udev
from tests.rig.dead_share import Share, share_at

_read = Udev.all


@cache
def _devices() -> dict[str, Entry]:
    return _read(Udev())


@pytest.fixture(autouse=True)
def devices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every system is shown the devices that the first one found: to read some hundred was most of what a start costs.

    A module about devices that come and go has a fixture of this name that does nothing.
    """
    monkeypatch.setattr(Udev, "all", lambda udev: dict(_devices()))


@pytest.fixture
def dead_share(tmp_path: Path) -> Iterator[Share]:
    """A share whose server answers nothing: the kernel holds whoever asks, and the server."""
    with share_at(tmp_path / "share") as share:
        share.die()
        yield share
