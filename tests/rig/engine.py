"""The container engine as a bystander sees it, through the docker command and through its API.

Tests use it to look behind Rooftree's back, and the rig to leave the engine as it was. What is asked for again and
again is asked of the API: ten commands would take half a second of a processor.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from attrs import field, frozen

from tests.rig.engine_connection import EngineConnection, engine_url
from tests.rig.namespaces import run_in_namespaces_of

INSTANCE_LABEL = "io.rooftree.instance"
BUILT_BY_LABEL = "io.rooftree.built-by"
CHECKOUT = Path(__file__).resolve().parents[2]
CLASSIC_BUILDER = {"DOCKER_BUILDKIT": "0"}
ANSWERS_S = 60.0
"""Seconds that its API may take, on a machine that does much else."""
OBJECTS = {
    "container": ("/containers/json?all=1&", "/containers/{}?force=1&v=1"),
    "network": ("/networks?", "/networks/{}"),
    "volume": ("/volumes?", "/volumes/{}"),
    "image": ("/images/json?", "/images/{}?force=1"),
}
"""Where each kind of object is listed and where it is removed, in the order in which removing works."""


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


@frozen
class ShownContainer:
    """A container as the engine lists it."""

    id: str
    name: str
    state: str
    image: str
    """The image's name, as it was told when the container was made."""


class Engine:
    """The docker command, and what is on the engine.

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

    def containers(self, **filters: str) -> list[ShownContainer]:
        """The containers that pass the filters of the engine's list, running or not: ``label=``, ``name=`` …"""
        return [
            ShownContainer(entry["Id"], entry["Names"][0].removeprefix("/"), entry["State"], entry["Image"])
            for entry in self._ask(f"/containers/json?all=1&{_filters(**filters)}")
        ]

    def container(self, name: str) -> Any:
        """Everything that the engine says of a container, by its name or id."""
        return self._ask(f"/containers/{name}/json")

    def environment_of(self, name: str) -> dict[str, str]:
        """What the programs of a running container find in their environment."""
        return self._running(name)[1]

    def enter(self, name: str, *command: str, data: bytes | None = None, processes: bool = False) -> str:
        """The output of a command with a running container's files, network and environment, which nothing of what
        confines the container holds back: ``docker exec`` is for what it may, and costs twenty times as much.

        :param data: its standard input
        :param processes: whether it finds the container's processes in place of ours
        """
        if self.surroundings.command:  # process ids there are not ours
            return self.run("exec", "--interactive", name, *command, data=data or b"")
        return run_in_namespaces_of(*self._running(name), *command, data=data, processes=processes)

    def _running(self, name: str) -> tuple[int, dict[str, str]]:
        """The process of a container and the environment that it was given."""
        shown = self.container(name)
        if not shown["State"]["Running"]:
            raise RuntimeError(f"{name} does not run")
        return int(shown["State"]["Pid"]), dict(variable.split("=", 1) for variable in shown["Config"]["Env"])

    def image_names(self, **filters: str) -> list[tuple[str, str]]:
        """Id and name of each image that has a name and passes the filters of the engine's list."""
        listed = self._ask(f"/images/json?{_filters(**filters)}")
        return [(entry["Id"], name) for entry in listed for name in entry["RepoTags"] or () if name != "<none>:<none>"]

    def take_name_away(self, image: str) -> None:
        """Take an image's name away, and the image with its last one. What two tests build of the same content is one
        image; where both take their names away in one moment the engine loses its way (``unrecognized image ID``)."""
        while self.image_names(reference=image):
            try:
                self._remove(f"/images/{image}")
            except RuntimeError as error:
                if "unrecognized image ID" not in str(error):
                    raise

    def leftovers(self, instance: str) -> list[str]:
        """Everything that carries the instance's label, as ``container 0123…``: empty when nothing is left behind."""
        return [f"{kind} {name}" for kind in OBJECTS for name in self._labelled(kind, instance)]

    def remove_instance(self, instance: str) -> None:
        """Take away everything that carries the instance's label."""
        for kind, (_, place) in OBJECTS.items():
            for name in self._labelled(kind, instance):
                self._remove(place.format(name))

    def remove_image(self, name: str) -> None:
        """Take an image's name away, whoever uses it; nothing to do where it is gone."""
        self._remove(f"/images/{name}?force=1")

    def remove_images(self, prefix: str) -> None:
        """Take away the images whose name begins with ``prefix``, such as ``127.0.0.1:5000/``; those that nothing else
        names, too."""
        for entry in self._ask("/images/json"):
            for name in (*(entry["RepoTags"] or ()), *(entry["RepoDigests"] or ())):
                if name.startswith(prefix):
                    self.remove_image(name)

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
        listed = self._ask(OBJECTS[kind][0] + _filters(label=f"{label}={instance}"))
        objects = listed["Volumes"] or () if kind == "volume" else listed
        return sorted({entry["Name"] if kind == "volume" else entry["Id"] for entry in objects})

    def _remove(self, path: str) -> None:
        """A DELETE of what may have gone already."""
        self._ask(path, "DELETE", accepted=(404,))

    def _ask(self, path: str, method: str = "GET", accepted: Sequence[int] = ()) -> Any:
        """What the API answers.

        :param accepted: statuses of refusals that are as good as an answer
        """
        connection = EngineConnection(self._url, ANSWERS_S)
        try:
            connection.request(method, path)
            with connection.getresponse() as response:
                content = response.read()
                if response.status not in {200, 204, *accepted}:
                    raise RuntimeError(f"{method} {path}: {response.status} {content.decode(errors='replace')}")
                return json.loads(content or "null")
        finally:
            connection.close()


def _filters(**filters: str) -> str:
    return urlencode({"filters": json.dumps({name: [value] for name, value in filters.items()})})


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
