"""The container engine as a bystander sees it, through the docker command.

Tests use it to look behind Rooftree's back, and the rig to leave the engine as it was. What the rig looks for around
each daemon it asks the engine's API: ten commands would take a quarter of a second of a processor.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from attrs import field, frozen

from tests.rig.engine_connection import EngineConnection, engine_url

INSTANCE_LABEL = "io.rooftree.instance"
BUILT_BY_LABEL = "io.rooftree.built-by"
CHECKOUT = Path(__file__).resolve().parents[2]
CLASSIC_BUILDER = {"DOCKER_BUILDKIT": "0"}
ANSWERS_S = 60.0
"""Seconds that its API may take, on a machine that does much else."""
OBJECTS = {
    "container": ("/containers/json?all=1&", ["rm", "--force", "--volumes"]),
    "network": ("/networks?", ["network", "rm"]),
    "volume": ("/volumes?", ["volume", "rm"]),
    "image": ("/images/json?", ["rmi", "--force"]),
}
"""Where each kind of object is listed and how it is removed, in the order in which removing works."""


@frozen
class Surroundings:
    """Where the daemons on an engine live; the machine that we are on unless something else is said."""

    folder: Path | None = None
    """The parent of their folders: one that the engine sees under the same path."""
    command: tuple[str | Path, ...] = ()
    """What starts them, before their own command line; becomes them with ``exec``."""
    environment: Mapping[str, str] = field(factory=dict)
    """What they find in their environment."""


HERE = Surroundings()


class Engine:
    """The docker command, and what of an instance is on the engine.

    :param url: another engine than the machine's own
    :param surroundings: where daemons on it are to live
    """

    def __init__(self, url: str | None = None, surroundings: Surroundings = HERE) -> None:
        self.surroundings = surroundings
        self.environment = CLASSIC_BUILDER if url is None else {**CLASSIC_BUILDER, "DOCKER_HOST": url}
        self._url = url or engine_url()

    def run(self, *arguments: str | Path, data: bytes | None = None) -> str:
        """The output of ``docker ARGUMENTS…``. Raises :class:`RuntimeError` with what it printed when it fails."""
        done = subprocess.run(
            ["docker", *arguments], input=data, capture_output=True, check=False, env=os.environ | self.environment
        )
        if done.returncode:
            words = " ".join(str(argument) for argument in arguments)
            raise RuntimeError(f"docker {words}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace").strip()

    def take_name_away(self, image: str) -> None:
        """Take an image's name away, and the image with its last one. What two tests build of the same content is one
        image; where both take their names away in one moment the engine loses its way (``unrecognized image ID``)."""
        while self.run("images", "--quiet", image):
            try:
                self.run("rmi", image)
            except RuntimeError as error:
                if "unrecognized image ID" not in str(error):
                    raise

    def leftovers(self, instance: str) -> list[str]:
        """Everything that carries the instance's label, as ``container 0123…``: empty when nothing is left behind."""
        return [f"{kind} {name}" for kind in OBJECTS for name in self._labelled(kind, instance)]

    def remove_instance(self, instance: str) -> None:
        """Take away everything that carries the instance's label."""
        for kind, (_, remove) in OBJECTS.items():
            if names := self._labelled(kind, instance):
                self.run(*remove, *names)

    def remove_images(self, prefix: str) -> None:
        """Take away the images whose name begins with ``prefix``, such as ``127.0.0.1:5000/``."""
        images = self.run("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
        named = [
            name if not name.endswith(":<none>") else image
            for name, image in map(str.split, images)
            if name.startswith(prefix)
        ]
        if named:
            self.run("rmi", "--force", *named)

    def architecture(self) -> str:
        """The engine's architecture in the words of add-on configurations: ``amd64``, ``aarch64``."""
        word = self.run("version", "--format", "{{.Server.Arch}}")
        return {"arm64": "aarch64"}.get(word, word)

    def free_subnet(self) -> str:
        """A /23 that no network of the engine and no route of the machine touches."""
        taken = [*self._network_subnets(), *_routed_subnets()]
        while True:
            subnet = IPv4Network((f"10.{200 + secrets.randbelow(50)}.{2 * secrets.randbelow(128)}.0", 23))
            if not any(subnet.overlaps(other) for other in taken):
                return str(subnet)

    def _network_subnets(self) -> list[IPv4Network]:
        configs = [config for network in self._ask("/networks") for config in network["IPAM"]["Config"] or ()]
        return [IPv4Network(config["Subnet"]) for config in configs if ":" not in config["Subnet"]]

    def _labelled(self, kind: str, instance: str) -> list[str]:
        label = BUILT_BY_LABEL if kind == "image" else INSTANCE_LABEL
        listed = self._ask(OBJECTS[kind][0] + urlencode({"filters": json.dumps({"label": [f"{label}={instance}"]})}))
        objects = listed["Volumes"] or () if kind == "volume" else listed
        return sorted({entry["Name"] if kind == "volume" else entry["Id"] for entry in objects})

    def _ask(self, path: str) -> Any:
        """What the API answers to a GET."""
        connection = EngineConnection(self._url, ANSWERS_S)
        try:
            connection.request("GET", path)
            with connection.getresponse() as response:
                content = response.read()
                if response.status != 200:
                    raise RuntimeError(f"GET {path}: {response.status} {content.decode(errors='replace')}")
                return json.loads(content)
        finally:
            connection.close()


def import_base_image(name: str, engine: Engine) -> None:
    """Make a busybox image of that name without any registry."""
    subprocess.run([CHECKOUT / "scripts" / "base-image", name], check=True, env=os.environ | engine.environment)


def _routed_subnets() -> list[IPv4Network]:
    """The networks of the routing table, without the default route."""
    rows = [line.split() for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]]
    subnets = [IPv4Network((_address(row[1]), str(_address(row[7])))) for row in rows]
    return [subnet for subnet in subnets if subnet.prefixlen]


def _address(word: str) -> IPv4Address:
    """An address as the kernel prints it: eight hex digits, in the byte order of the machine."""
    return IPv4Address(int.from_bytes(bytes.fromhex(word), sys.byteorder))
