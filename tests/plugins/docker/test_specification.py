"""A container specification in the engine's words, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from rooftree.errors import Invalid
from rooftree.interfaces.containers import ContainerSpec, DataPath, HostPath, Mount, Port, Ulimit
from rooftree_docker.data_folder import BindSource
from rooftree_docker.specification import Naming, container_body

MINIMAL = ContainerSpec(name="app_local_hello", image="hello:1.0")


def body(spec: ContainerSpec, *, propagates: bool = True, api: tuple[int, int] = (1, 44)) -> dict[str, Any]:
    sources = [BindSource(f"/host/{mount.source.path.strip('/')}", propagates) for mount in spec.mounts]
    return container_body(spec, sources, labels={"l": "1"}, network="net", api_version=api)


def host_config(spec: ContainerSpec, **more: Any) -> dict[str, Any]:
    config: dict[str, Any] = body(spec, **more)["HostConfig"]
    return config


def test_container_is_created_on_its_network_under_its_host_name() -> None:
    created = body(evolve(MINIMAL, hostname="local-hello", dns=("172.30.32.3",), dns_search=("local.hass.io",)))

    assert created["NetworkingConfig"] == {"EndpointsConfig": {"net": {"Aliases": ["local-hello"]}}}
    assert created["Hostname"] == "local-hello"
    assert created["Domainname"] == "local.hass.io"
    assert created["HostConfig"]["NetworkMode"] == "net"
    assert created["HostConfig"]["DnsOptions"] == ["timeout:10"]


def test_host_network_has_no_ports_and_no_endpoint() -> None:
    created = body(evolve(MINIMAL, network="host", ports=(Port(80, 8080),)))

    assert "NetworkingConfig" not in created
    assert created["HostConfig"]["NetworkMode"] == "host"
    assert created["HostConfig"]["PortBindings"] == {}


def test_ports_are_published_on_every_address() -> None:
    config = host_config(evolve(MINIMAL, ports=(Port(80, 8080), Port(53, 5353, "udp"), Port(80, 8081))))

    assert config["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "", "HostPort": "8081"}],
        "53/udp": [{"HostIp": "", "HostPort": "5353"}],
    }


def test_everything_else_of_a_specification_arrives() -> None:
    spec = evolve(
        MINIMAL,
        environment={"TZ": "UTC"},
        extra_hosts={"supervisor": "172.30.32.2"},
        capabilities=("SYS_NICE",),
        dropped_capabilities=("NET_RAW",),
        privileged=True,
        security_options=("seccomp=unconfined",),
        device_rules=("c 188:* rwm",),
        devices=("/dev/ttyUSB0",),
        ulimits=(Ulimit("rtprio", 90, 99),),
        pids_limit=64,
        tmpfs=("/tmp", "/dev/shm:size=64m"),
        command=("sh", "-c", "true"),
        init=False,
        stdin=True,
        host_pid=True,
        host_ipc=True,
        oom_score_adjust=200,
        cpu_realtime_runtime_us=190000,
        stop_timeout_s=33,
    )

    created = body(spec)
    config = host_config(spec)

    assert created["Image"] == "hello:1.0"
    assert created["Env"] == ["TZ=UTC"]
    assert created["Cmd"] == ["sh", "-c", "true"]
    assert (created["OpenStdin"], created["StdinOnce"], created["StopTimeout"]) == (True, False, 33)
    assert created["Labels"] == {"l": "1"}
    expected = {
        "ExtraHosts": ["supervisor:172.30.32.2"],
        "CapAdd": ["SYS_NICE"],
        "CapDrop": ["NET_RAW"],
        "Privileged": True,
        "SecurityOpt": ["seccomp=unconfined"],
        "DeviceCgroupRules": ["c 188:* rwm"],
        "Devices": [{"PathOnHost": "/dev/ttyUSB0", "PathInContainer": "/dev/ttyUSB0", "CgroupPermissions": "rwm"}],
        "Ulimits": [{"Name": "rtprio", "Soft": 90, "Hard": 99}],
        "PidsLimit": 64,
        "Tmpfs": {"/tmp": "", "/dev/shm": "size=64m"},
        "Init": False,
        "PidMode": "host",
        "IpcMode": "host",
        "OomScoreAdj": 200,
        "CpuRealtimeRuntime": 190000,
        "RestartPolicy": {"Name": "no"},
    }
    assert {key: config[key] for key in expected} == expected


@pytest.mark.parametrize(("entrypoint", "told"), [((), [""]), (("/bin/sh", "-c"), ["/bin/sh", "-c"])])
def test_entrypoint_takes_the_place_of_the_images(entrypoint: tuple[str, ...], told: list[str]) -> None:
    assert "Entrypoint" not in body(MINIMAL)
    assert body(evolve(MINIMAL, entrypoint=entrypoint))["Entrypoint"] == told


def test_number_of_processes_is_the_engines_affair_unless_it_is_said() -> None:
    assert "PidsLimit" not in host_config(MINIMAL)


def test_host_name_is_the_hosts_own_when_shared() -> None:
    spec = evolve(MINIMAL, hostname="x", host_uts=True)

    assert "Hostname" not in body(spec)
    assert host_config(spec)["UTSMode"] == "host"


def test_mounts_carry_their_source_on_the_host() -> None:
    spec = evolve(
        MINIMAL,
        mounts=(
            Mount(DataPath("share"), "/share", propagation="rslave"),
            Mount(HostPath("/run/dbus"), "/run/dbus", True),
        ),
    )

    share, dbus = host_config(spec)["Mounts"]

    assert share["Source"] == "/host/share"
    assert share["BindOptions"] == {"Propagation": "rslave"}
    assert (dbus["ReadOnly"], dbus["Type"]) == (True, "bind")


def test_mounts_below_dev_stay_usable_on_old_and_new_engines() -> None:
    spec = evolve(MINIMAL, mounts=(Mount(HostPath("/dev"), "/dev", read_only=True, recursive=False),))

    new, _ = host_config(spec, api=(1, 44))["Mounts"]
    old, _ = host_config(spec, api=(1, 41))["Mounts"]

    assert new["BindOptions"] == {"Propagation": "rprivate", "ReadOnlyNonRecursive": True}
    assert old["BindOptions"] == {"Propagation": "rprivate"}


def test_container_that_is_shown_dev_has_terminals_of_its_own() -> None:
    spec = evolve(MINIMAL, mounts=(Mount(HostPath("/dev"), "/dev", read_only=True, recursive=False),))

    _, terminals = host_config(spec)["Mounts"]
    alone = host_config(MINIMAL)["Mounts"]

    assert (terminals["Type"], terminals["Target"]) == ("volume", "/dev/pts")
    assert terminals["VolumeOptions"]["DriverConfig"]["Options"]["type"] == "devpts"
    assert alone == []


def test_propagation_is_dropped_where_the_host_does_not_share_the_mount() -> None:
    spec = evolve(MINIMAL, mounts=(Mount(DataPath("share"), "/share", propagation="rslave"),))

    (mount,) = host_config(spec, propagates=False)["Mounts"]

    assert mount["BindOptions"]["Propagation"] == "rprivate"


def test_our_labels_cannot_be_overridden() -> None:
    labels = Naming("me").labels({"io.rooftree.instance": "you", "more": "1"})

    assert labels == {"supervisor_managed": "", "io.rooftree.instance": "me", "more": "1"}


def test_names_have_the_prefix_and_nothing_that_means_something_in_a_url() -> None:
    naming = Naming("me", "rt_")

    assert naming.engine_name("app_x") == "rt_app_x"
    assert naming.logical_name("/rt_app_x") == "app_x"
    assert naming.logical_name("/other") is None
    for name in ("a/b", "a b", "a?x", "..", ""):
        with pytest.raises(Invalid):
            Naming("me").engine_name(name)
