"""What attacks are run against: the parts of the end-to-end tests, which are real."""

from __future__ import annotations

from tests.e2e.docker.conftest import data_dir, events, instance, make_driver, prefix, spec
from tests.rig.fixtures import base_image, daemon, engine, git_server, registry

__all__ = [
    "base_image",
    "daemon",
    "data_dir",
    "engine",
    "events",
    "git_server",
    "instance",
    "make_driver",
    "prefix",
    "registry",
    "spec",
]
