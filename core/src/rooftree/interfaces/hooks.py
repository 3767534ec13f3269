"""The hooks through which domains contribute to each other: one small function each, its docstring the contract."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from attrs import frozen

from rooftree.errors import RooftreeError
from rooftree.hooks import hookspec
from rooftree.interfaces.hardware import Device


@frozen(kw_only=True)
class AvailableUpdate:
    """Something that could be updated; fields as in the answer of ``/available_updates``."""

    update_type: str
    """``core``, ``supervisor``, ``os`` or ``addon``."""
    version_latest: str
    panel_path: str
    name: str | None = None
    """Add-ons only."""
    icon: str | None = None
    """Add-ons only: the path of the icon, where there is one."""


@hookspec
def available_updates() -> list[AvailableUpdate]:
    """What the domain has updates for. Called for each ``GET /available_updates``; answer from memory."""
    raise NotImplementedError


@hookspec
def info() -> Mapping[str, Any] | Coroutine[Any, Any, Mapping[str, Any]]:
    """The domain's part of ``GET /info``: keys of that answer with their values (``{"docker": "27.0"}``)."""
    raise NotImplementedError


@hookspec
def supervisor_info() -> Mapping[str, Any] | Coroutine[Any, Any, Mapping[str, Any]]:
    """The domain's part of ``GET /supervisor/info``: keys of that answer with their values (``{"addons": […]}``)."""
    raise NotImplementedError


@hookspec
def hardware_added(device: Device) -> Coroutine[Any, Any, None] | None:
    """A device appeared on this machine. Called once for each, in no order among plugins; those that were there when
    Rooftree started are not told of."""
    raise NotImplementedError


@hookspec
def hardware_removed(device: Device) -> Coroutine[Any, Any, None] | None:
    """A device vanished from this machine."""
    raise NotImplementedError


@frozen
class RepositoriesSet:
    """The store's answer to :func:`set_repositories`."""

    refusal: RooftreeError | None = None
    """Why they were not taken over, for the client to read. Returned, not raised: what a hook raises counts as a fault
    of its plugin, and never reaches the client."""


@hookspec
def set_repositories(sources: list[str]) -> RepositoriesSet | Coroutine[Any, Any, RepositoriesSet]:
    """Make ``sources`` (as given to ``POST /supervisor/options``) the add-on repositories: what is missing is added,
    what is not among them is removed, built-in ones stay. Either all of it happens or nothing. Answer within the
    hooks' deadline: what takes longer (cloning) is accepted as a job, and the answer does not wait for it."""
    raise NotImplementedError
