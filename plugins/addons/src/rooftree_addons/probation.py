"""What an update of an add-on has to prove before what it replaced is given up, and what is kept until then."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from rooftree import Event, document
from rooftree_addons.installed import InstalledVersion
from rooftree_containers import managed, snapshot
from rooftree_store import AddonSlug


class NothingToRollBack(managed.NothingToRollBack):
    """The add-on's version has proved itself, or was never updated."""

    error_key = "app_no_roll_back_available_error"


class SnapshotRefused(snapshot.SnapshotRefused):
    """There is no room to keep an add-on's data as it is. ``extra_fields``: ``needed``, ``free`` (bytes)."""

    error_key = "app_update_no_room_error"


class SnapshotFailed(snapshot.SnapshotFailed):
    """An add-on's data could not be copied, or not be put back."""

    error_key = "app_snapshot_error"


@frozen
class AddonRolledBack(Event):
    """An add-on's update failed after it had seemed to work, and the version before it is back with its data."""

    slug: AddonSlug
    version: str
    """The one that failed."""
    back_to: str
    reason: str
    set_aside: str
    """Where the data lies that the failed version left, relative to the data folder."""


def _without_failure(body: dict[str, Any]) -> dict[str, Any]:
    """Version 2 notes why a version failed; before, that was lost with the process."""
    return {**body, "failure": None}


def _without_later_failure(body: dict[str, Any]) -> dict[str, Any]:
    """Version 3 notes whether an update from the version on probation failed; before, its proof was taken for both."""
    return {**body, "later_failed": False}


@document("addons.probation", version=3, migrations={1: _without_failure, 2: _without_later_failure})
@frozen(kw_only=True)
class Probation(managed.Probation):
    """An add-on whose version has not proved itself yet."""

    was: InstalledVersion
    """The old one."""
    profile: str | None
    """The old version's AppArmor profile."""
