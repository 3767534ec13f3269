"""A real image registry on loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tests.rig.dockerfile_image import DockerfileImage, begins_with, digest_of, empty_config, image_of
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
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


@frozen
class PublishedBase:
    """An image that others begin with: its repository, its configuration and its layers' entries in a manifest."""

    name: str
    config: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]


@frozen
class Registry:
    """A registry that has what was published to it, and an engine to make images with."""

    address: str
    """Host and port, the first part of its images' names."""
    engine: Engine
    base_image: str
    _bases: dict[str, PublishedBase] = field(factory=dict, init=False, eq=False)

    def publish(
        self, name: str, tag: str, dockerfile: str, files: Mapping[str, str | bytes] = {}, platform: str | None = None
    ) -> str:
        """Put an image into the registry that the engine does not have. Its whole name, ``127.0.0.1:port/name:tag``.

        ``FROM base`` in the Dockerfile stands for the rig's own busybox image. A Dockerfile that runs something is
        built by the engine; what others say is written down without it.

        :param platform: what it is made for, where its Dockerfile begins with ``FROM scratch``
        """
        dockerfile = dockerfile.replace("FROM base", f"FROM {self.base_image}")
        if (beginning := begins_with(dockerfile)) is None:
            self._build(name, tag, dockerfile, files)
        else:
            base = self._base(beginning) if platform is None else PublishedBase("", empty_config(platform), ())
            self._write(name, tag, base, image_of(dockerfile, files, base.config))
        return f"{self.address}/{name}:{tag}"

    def _build(self, name: str, tag: str, dockerfile: str, files: Mapping[str, str | bytes]) -> None:
        """Nothing of what was built before is used: its test may take it away in the middle."""
        image = f"{self.address}/{name}:{tag}"
        with tempfile.TemporaryDirectory() as context:
            write_files(Path(context), {"Dockerfile": dockerfile, **files})
            self.engine.run("build", "--quiet", "--no-cache", "--tag", image, context)
        self.engine.run("push", "--quiet", image)
        self.engine.take_name_away(image)

    def _write(self, name: str, tag: str, base: PublishedBase, image: DockerfileImage) -> None:
        for layer in base.layers:
            self._ask("POST", f"{name}/blobs/uploads/?mount={layer['digest']}&from={base.name}").close()
        layers = [self._upload(name, layer) | {"mediaType": LAYER} for layer in image.layers]
        config = json.dumps(image.config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._upload(name, config) | {"mediaType": CONFIG},
            "layers": [*base.layers, *layers],
        }
        self._ask("PUT", f"{name}/manifests/{tag}", json.dumps(manifest).encode(), {"Content-Type": MANIFEST}).close()

    def _upload(self, name: str, content: bytes) -> dict[str, Any]:
        digest = digest_of(content)
        with self._ask("POST", f"{name}/blobs/uploads/") as answer:
            place = answer.headers["Location"].partition("/v2/")[2]
        self._ask("PUT", f"{place}&digest={digest}", content, {"Content-Type": "application/octet-stream"}).close()
        return {"size": len(content), "digest": digest}

    def _base(self, image: str) -> PublishedBase:
        """What others begin with, in this registry; it is pushed there once. The engine remembers what it pushed: where
        it still has that, it fetches of an image only what was added."""
        if image not in self._bases:
            name = f"bases/{hashlib.sha256(image.encode()).hexdigest()[:16]}"
            pushed = f"{self.address}/{name}:1"
            self.engine.run("tag", image, pushed)
            self.engine.run("push", "--quiet", pushed)
            self.engine.run("rmi", pushed)
            with self._ask("GET", f"{name}/manifests/1", headers={"Accept": MANIFEST}) as answer:
                manifest = json.load(answer)
            with self._ask("GET", f"{name}/blobs/{manifest['config']['digest']}") as answer:
                self._bases[image] = PublishedBase(name, json.load(answer), manifest["layers"])
        return self._bases[image]

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
                    "digest": digest_of(content),
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
