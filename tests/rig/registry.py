"""A real image registry on loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import tempfile
import urllib.request
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
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


@frozen
class Registry:
    """A registry that has what was published to it, and an engine to make images with."""

    address: str
    """Host and port, the first part of its images' names."""
    engine: Engine
    base_image: str

    def publish(
        self, name: str, tag: str, dockerfile: str, files: Mapping[str, str] = {}, platform: str | None = None
    ) -> str:
        """Build an image, push it, and take it off the engine again. Its whole name, ``127.0.0.1:port/name:tag``.

        ``FROM base`` in the Dockerfile stands for the rig's own busybox image.

        :param platform: what it is made for, where its Dockerfile begins with ``FROM scratch``
        """
        image = f"{self.address}/{name}:{tag}"
        with tempfile.TemporaryDirectory() as context:
            write_files(
                Path(context), {"Dockerfile": dockerfile.replace("FROM base", f"FROM {self.base_image}"), **files}
            )
            made_for = ["--platform", platform] if platform else []
            self.engine.run("build", "--quiet", *made_for, "--tag", image, context)
        self.engine.run("push", "--quiet", image)
        self.engine.take_name_away(image)
        return image

    def publish_index(self, name: str, tag: str, manifests: Mapping[str, str]) -> str:
        """Publish an index of manifests that are in the repository of that name, by their tags. Its whole name.

        :param manifests: the tags by platform, ``linux/arm64``
        """
        entries = []
        for platform, of in manifests.items():
            system, _, architecture = platform.partition("/")
            with self._ask("GET", f"{name}/manifests/{of}", headers={"Accept": MANIFEST}) as answer:
                content = answer.read()
            entries.append(
                {
                    "mediaType": MANIFEST,
                    "size": len(content),
                    "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
                    "platform": {"os": system, "architecture": architecture},
                }
            )
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        headers = {"Content-Type": INDEX}
        with self._ask("PUT", f"{name}/manifests/{tag}", json.dumps(index).encode(), headers):
            return f"{self.address}/{name}:{tag}"

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> http.client.HTTPResponse:
        request = urllib.request.Request(f"http://{self.address}/v2/{path}", body, dict(headers), method=method)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=10)
        return response


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
