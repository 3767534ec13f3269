"""What holds for the tests of every domain: a machine whose devices are read once."""

from __future__ import annotations

from functools import cache

import pytest

from rooftree_host.udev import Entry, Udev

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
