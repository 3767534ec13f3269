"""A real image registry on loopback."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from tests.rig.engine import Engine
from tests.rig.files import write_files
from tests.rig.service_process import ServiceProcess, free_port

CONFIGURATION = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: {secret}}}
"""


@frozen
class Registry:
    """A registry that has what was published to it, and an engine to make images with."""

    address: str
    """Host and port, the first part of its images' names."""
    engine: Engine
    base_image: str

    def publish(self, name: str, tag: str, dockerfile: str, files: Mapping[str, str] = {}) -> str:
        """Build an image, push it, and take it off the engine again. Its whole name, ``127.0.0.1:port/name:tag``.

        ``FROM base`` in the Dockerfile stands for the rig's own busybox image.
        """
        image = f"{self.address}/{name}:{tag}"
        with tempfile.TemporaryDirectory() as context:
            write_files(
                Path(context), {"Dockerfile": dockerfile.replace("FROM base", f"FROM {self.base_image}"), **files}
            )
            self.engine.run("build", "--quiet", "--tag", image, context)
        self.engine.run("push", "--quiet", image)
        self.engine.run("rmi", image)
        return image


@contextmanager
def serve_images(folder: Path, engine: Engine, base_image: str) -> Iterator[Registry]:
    """A registry of its own that keeps its images below ``folder``; the engine forgets them at the end."""
    port = free_port()
    configuration = folder / "config.yml"
    configuration.write_text(
        CONFIGURATION.format(folder=folder / "images", port=port, secret=secrets.token_hex()), encoding="utf-8"
    )
    with ServiceProcess(["docker-registry", "serve", configuration], port=port, log=folder / "log"):
        registry = Registry(f"127.0.0.1:{port}", engine, base_image)
        yield registry
        engine.remove_images(f"{registry.address}/")
