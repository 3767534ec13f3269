"""What the engine shows of containers, images and itself, in the interface's types."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rooftree.interfaces.containers import Container, ContainerStatus, EngineInfo, Health, Image, Port
from rooftree_docker.engine_client import Json
from rooftree_docker.platforms import Platform

_STATUS: Final = {
    "created": ContainerStatus.CREATED,
    "running": ContainerStatus.RUNNING,
    "paused": ContainerStatus.RUNNING,
    "restarting": ContainerStatus.RUNNING,
    "removing": ContainerStatus.EXITED,
    "exited": ContainerStatus.EXITED,
    "dead": ContainerStatus.EXITED,
}
_ARCHITECTURES: Final = {"x86_64": "amd64", "arm64": "aarch64", "armv7l": "armv7", "armv6l": "armhf", "i686": "i386"}


def health_of(word: str | None) -> Health:
    """A health check's verdict; what this version does not know counts as none."""
    try:
        return Health(word or "none")
    except ValueError:
        return Health.NONE


def container_of(described: Json, name: str, network: str) -> Container:
    """A container from the engine's description.

    :param name: its logical name
    :param network: the engine's name of the add-on network
    """
    state, configuration = described["State"], described["Config"]
    status = _STATUS.get(state["Status"], ContainerStatus.EXITED)
    endpoint = ((described.get("NetworkSettings") or {}).get("Networks") or {}).get(network) or {}
    return Container(
        id=described["Id"],
        name=name,
        image=configuration["Image"],
        image_id=described["Image"],
        status=status,
        health=health_of((state.get("Health") or {}).get("Status")),
        exit_code=state["ExitCode"] if status is ContainerStatus.EXITED else None,
        labels=configuration.get("Labels") or {},
        ip_address=endpoint.get("IPAddress") or None,
        started_at=_time(state.get("StartedAt")),
        ipv6_address=endpoint.get("GlobalIPv6Address") or None,
        on_host_network=(described.get("HostConfig") or {}).get("NetworkMode") == "host",
        log_driver=((described.get("HostConfig") or {}).get("LogConfig") or {}).get("Type") or "",
        ports=tuple(_ports(described)),
    )


def _ports(described: Json) -> Iterator[Port]:
    """What it was told to publish; without a port of the host's, the engine chooses any."""
    bindings = (described.get("HostConfig") or {}).get("PortBindings") or {}
    for own, entries in bindings.items():
        number, _, protocol = own.partition("/")
        for entry in entries or ():
            if entry.get("HostPort"):
                yield Port(int(number), int(entry["HostPort"]), "udp" if protocol == "udp" else "tcp")


def image_of(described: Json) -> Image:
    """An image from the engine's description."""
    configuration = described.get("Config") or {}
    check = (configuration.get("Healthcheck") or {}).get("Test") or []
    return Image(
        id=described["Id"],
        tags=tuple(described.get("RepoTags") or ()),
        architecture=described.get("Architecture") or "",
        size=described.get("Size") or 0,
        has_health_check=bool(check) and check[0] != "NONE",
        digests=tuple(described.get("RepoDigests") or ()),
        labels=configuration.get("Labels") or {},
        system=described.get("Os") or "",
        variant=described.get("Variant") or "",
        environment=dict(text.split("=", 1) for text in configuration.get("Env") or () if "=" in text),
    )


def made_for(image: Image) -> Platform:
    """The platform of an image."""
    return Platform(image.system, image.architecture, image.variant)


def engine_info_of(info: Json, version: Json) -> EngineInfo:
    """The engine's facts from its ``/info`` and ``/version``."""
    machine = info.get("Architecture") or ""
    return EngineInfo(
        version=info.get("ServerVersion") or version.get("Version") or "",
        api_version=version.get("ApiVersion") or "",
        storage=info.get("Driver") or "",
        logging=info.get("LoggingDriver") or "",
        cgroup=info.get("CgroupVersion") or "1",
        architecture=_ARCHITECTURES.get(machine, machine),
        operating_system=info.get("OperatingSystem") or "",
        root_dir=info.get("DockerRootDir") or "",
    )


def _time(text: str | None) -> datetime | None:
    if not text or text.startswith("0001-"):  # Go's zero time: it never happened
        return None
    return datetime.fromisoformat(text)
