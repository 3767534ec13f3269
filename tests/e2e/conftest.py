"""What the end-to-end tests take from the rig."""

from __future__ import annotations

from tests.rig.fixtures import base_image, cores, daemon, engine, git_server, registry

__all__ = ["base_image", "cores", "daemon", "engine", "git_server", "registry"]
