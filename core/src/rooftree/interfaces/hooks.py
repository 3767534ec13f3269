"""The hooks through which domains contribute to each other: one small function each, its docstring the contract."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from attrs import frozen

from rooftree.hooks import hookspec


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
