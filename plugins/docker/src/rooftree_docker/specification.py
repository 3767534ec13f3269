"""A container specification in the engine's words.

Pure: what has to be asked of the outside (where a path lies on the host) is passed in. A container is created directly
on its network, with its host name as alias, so that it never touches the engine's default bridge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from attrs import frozen

from rooftree.errors import Invalid
from rooftree.interfaces.containers import ContainerSpec, Mount
from rooftree_docker.data_folder import BindSource
from rooftree_docker.engine_client import Json

log = structlog.get_logger(__name__)

MANAGED_LABEL: Final = "supervisor_managed"
INSTANCE_LABEL: Final = "io.rooftree.instance"
NAME_LABEL: Final = "io.rooftree.name"
"""The logical name of a container, which stays its own when somebody renames it."""
BUILT_BY_LABEL: Final = "io.rooftree.built-by"
"""The instance that built an image. Not :data:`INSTANCE_LABEL`: a container has its image's labels too, and one that
somebody makes of such an image is not ours."""

OWN_TERMINALS: Final[Json] = {
    "Type": "volume",
    "Target": "/dev/pts",
    "VolumeOptions": {
        "NoCopy": True,
        "DriverConfig": {
            "Name": "local",
            "Options": {"type": "devpts", "device": "devpts", "o": "nosuid,noexec,ptmxmode=0666,mode=0620,gid=5"},
        },
    },
}
"""Terminals of a container's own. The engine makes them by itself, but not where the container is shown the host's
/dev: then /dev/pts in it would be the host's, and every container may open terminals (136:*), those of root too. Each
mount of devpts is a world by itself; the volume has no name, and goes with the container."""
READ_ONLY_SUBMOUNTS_API: Final = (1, 44)
"""Since this version a read-only bind makes mounts below it read-only too, unless told otherwise."""

_CONTAINER_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@frozen
class Naming:
    """How this instance's things are told apart on an engine that others use too."""

    instance_id: str
    prefix: str = ""

    def engine_name(self, name: str) -> str:
        """The engine's name for a container; raises :class:`~rooftree.errors.Invalid`."""
        full = self.prefix + name
        if not _CONTAINER_NAME.fullmatch(full):
            raise Invalid(f"{full!r} is not a name for a container: letters, digits and _ . - are allowed")
        return full

    def logical_name(self, engine_name: str) -> str | None:
        """Our name for what the engine calls ``/prefix_name``; ``None`` when it has not our prefix."""
        bare = engine_name.removeprefix("/")
        return bare.removeprefix(self.prefix) if bare.startswith(self.prefix) else None

    def aside_name(self, name: str) -> str:
        """The engine's name for the container that was set aside of that logical name."""
        return f"{self.engine_name(name)}.aside"

    def is_aside(self, engine_name: str, labels: Mapping[str, str] | None) -> bool:
        """Whether what the engine calls so was set aside; its label tells its own name."""
        name = (labels or {}).get(NAME_LABEL)
        return name is not None and engine_name.removeprefix("/") == f"{self.prefix}{name}.aside"

    def labels(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The labels of everything we create; ours win."""
        return {**(more or {}), MANAGED_LABEL: "", INSTANCE_LABEL: self.instance_id}

    def container_labels(self, name: str, more: Mapping[str, str]) -> dict[str, str]:
        """The labels of a container of that logical name."""
        return {**self.labels(more), NAME_LABEL: name}

    def image_labels(self, more: Mapping[str, str]) -> dict[str, str]:
        """The labels of an image that we build."""
        return {**more, BUILT_BY_LABEL: self.instance_id}

    @property
    def image_filter(self) -> str:
        """The value of the engine's label filter for images that we built."""
        return f"{BUILT_BY_LABEL}={self.instance_id}"

    def is_another_ones_image(self, labels: Mapping[str, str]) -> bool:
        """Whether another Rooftree on this engine built it."""
        return labels.get(BUILT_BY_LABEL) not in {None, self.instance_id}

    def is_ours(self, labels: Mapping[str, str] | None) -> bool:
        return (labels or {}).get(INSTANCE_LABEL) == self.instance_id

    def name_of(self, engine_name: str, labels: Mapping[str, str] | None) -> str | None:
        """The logical name of a container of ours, from its label or, for one that has none yet, from its name."""
        return (labels or {}).get(NAME_LABEL) or self.logical_name(engine_name)

    def filter_for(self, name: str) -> dict[str, list[str]]:
        """The engine's filter for our container of that logical name."""
        return {"label": [*self.filter["label"], f"{NAME_LABEL}={name}"]}

    @property
    def filter(self) -> dict[str, list[str]]:
        """The engine's filter for what is ours."""
        return {"label": [f"{INSTANCE_LABEL}={self.instance_id}"]}


def container_body(
    spec: ContainerSpec,
    sources: Sequence[BindSource],
    *,
    labels: Mapping[str, str],
    network: str,
    api_version: tuple[int, int],
) -> Json:
    """The body of ``POST /containers/create``.

    :param sources: where each of the specification's mounts lies on the engine's host, in the same order
    :param network: the engine's name of the add-on network
    """
    on_host = spec.network == "host"
    body: Json = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "Labels": dict(labels),
        "OpenStdin": spec.stdin,
        "StdinOnce": False,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "StopTimeout": spec.stop_timeout_s,
        "HostConfig": _host_config(spec, sources, network, api_version),
    }
    if spec.command is not None:
        body["Cmd"] = list(spec.command)
    if spec.entrypoint is not None:
        body["Entrypoint"] = list(spec.entrypoint) or [""]  # an empty list leaves the image's
    if spec.hostname and not spec.host_uts:
        body["Hostname"] = spec.hostname
        if spec.dns and spec.dns_search:
            body["Domainname"] = spec.dns_search[0]
    if not on_host:
        body["ExposedPorts"] = {f"{port.container}/{port.protocol}": {} for port in spec.ports}
        aliases = [spec.hostname] if spec.hostname else []
        body["NetworkingConfig"] = {"EndpointsConfig": {network: {"Aliases": aliases}}}
    return body


def _host_config(
    spec: ContainerSpec, sources: Sequence[BindSource], network: str, api_version: tuple[int, int]
) -> Json:
    on_host = spec.network == "host"
    config: Json = {
        "NetworkMode": "host" if on_host else network,
        "PortBindings": {} if on_host else _port_bindings(spec),
        "Mounts": [
            *(_mount(mount, source, api_version) for mount, source in zip(spec.mounts, sources, strict=True)),
            *([OWN_TERMINALS] if any(mount.target == "/dev" for mount in spec.mounts) else []),
        ],
        "ExtraHosts": [f"{name}:{address}" for name, address in spec.extra_hosts.items()],
        "Privileged": spec.privileged,
        "CapAdd": list(spec.capabilities),
        "CapDrop": list(spec.dropped_capabilities),
        "SecurityOpt": list(spec.security_options),
        "DeviceCgroupRules": list(spec.device_rules),
        "Devices": [
            {"PathOnHost": device, "PathInContainer": device, "CgroupPermissions": "rwm"} for device in spec.devices
        ],
        "Ulimits": [{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in spec.ulimits],
        "Tmpfs": dict(_tmpfs(entry) for entry in spec.tmpfs),
        "Init": spec.init,
        "OomScoreAdj": spec.oom_score_adjust,
        "RestartPolicy": {"Name": "no"},  # the daemon decides what runs again, and when
    }
    if spec.dns:
        config["Dns"] = list(spec.dns)
        config["DnsSearch"] = list(spec.dns_search)
        config["DnsOptions"] = ["timeout:10"]
    if spec.host_pid:
        config["PidMode"] = "host"
    if spec.host_uts:
        config["UTSMode"] = "host"
    if spec.host_ipc:
        config["IpcMode"] = "host"
    if spec.pids_limit is not None:
        config["PidsLimit"] = spec.pids_limit
    if spec.cpu_realtime_runtime_us is not None:
        config["CpuRealtimeRuntime"] = spec.cpu_realtime_runtime_us
    return config


def _port_bindings(spec: ContainerSpec) -> Json:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        host = {"HostIp": "", "HostPort": str(port.host)}
        bindings.setdefault(f"{port.container}/{port.protocol}", []).append(host)
    return bindings


def _mount(mount: Mount, source: BindSource, api_version: tuple[int, int]) -> Json:
    propagation = mount.propagation
    if propagation != "rprivate" and not source.propagates:
        # The engine would refuse to start the container. Without propagation it runs, and sees what is mounted now.
        log.warning("mount_not_shared", source=source.path, target=mount.target, wanted=propagation)
        propagation = "rprivate"
    options: Json = {"Propagation": propagation}
    if not mount.recursive:
        if not mount.read_only:
            options["NonRecursive"] = True
        elif api_version >= READ_ONLY_SUBMOUNTS_API:
            # The mounts below are left out of the write protection: in a host that is a container itself, the nodes of
            # /dev are such mounts. Older engines protect only the mount itself, so there is nothing to say.
            options["ReadOnlyNonRecursive"] = True
    return {
        "Type": "bind",
        "Source": source.path,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "BindOptions": options,
    }


def _tmpfs(entry: str) -> tuple[str, str]:
    path, _, options = entry.partition(":")
    return path, options
