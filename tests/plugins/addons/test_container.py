"""Every key of an add-on's configuration that its container is made from, and what it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rooftree.interfaces.containers import AddonNetwork, ContainerSpec, DataPath, HostPath, Mount, Port, Ulimit
from rooftree_addons import InstalledAddon, container, devices
from rooftree_addons.container import container_spec, wants_config_folder
from rooftree_addons.device_grants import grants
from rooftree_addons.devices import DeviceNode
from rooftree_addons.sandbox import SandboxSettings, sandbox
from tests.plugins.addons.house import HELLO, addon_config

NETWORK = AddonNetwork(
    name="hassio", interface="hassio", subnet="172.30.32.0/23", gateway="172.30.32.1", supervisor="172.30.32.2"
)
MIB = 1024 * 1024


class AnyPath:
    """A host that has every path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def exists(self) -> bool:
        """It is there."""
        return True


@pytest.fixture(autouse=True)
def host_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with all system paths, whose kernel gave out these major numbers."""
    monkeypatch.setattr(container, "Path", AnyPath)
    monkeypatch.setattr(devices, "other_serial_ports", lambda: [DeviceNode("/dev/ttyX0", "c", 4, 64)])
    known = {"gpiochip": 254, "gpiomem": 239, "hidraw": 241, "vchiq": 242, "media": 243, "cec": 244, "rpivid-": 245}
    monkeypatch.setattr(devices, "majors", lambda names: [known[name] for name in names])


def spec(config: dict[str, Any] | None = None, devices: tuple[str, ...] = (), **choices: Any) -> ContainerSpec:
    """What the engine is told of an add-on with that configuration and those choices of its user."""
    fresh = InstalledAddon.fresh(HELLO, "registry.example/hello:1.0", addon_config("hello", **(config or {})), set())
    addon = evolve(fresh, **choices)
    return container_spec(
        addon,
        NETWORK,
        "the token",
        timezone="Europe/Vienna",
        hardware=grants(addon, devices, None),
        sandbox=sandbox(addon, SandboxSettings()),
    )


def mounts(found: ContainerSpec) -> dict[str, Mount]:
    """By target."""
    return {mount.target: mount for mount in found.mounts}


def test_plain_add_on_gets_what_every_add_on_gets() -> None:
    assert spec() == ContainerSpec(
        name="app_local_hello",
        image="registry.example/hello:1.0",
        hostname="local-hello",
        environment={"TZ": "Europe/Vienna", "SUPERVISOR_TOKEN": "the token", "HASSIO_TOKEN": "the token"},
        labels={"io.rooftree.slug": "local_hello"},
        mounts=(
            Mount(DataPath("apps/data/local_hello"), "/data"),
            Mount(HostPath("/dev"), "/dev", read_only=True, recursive=False),
            Mount(HostPath("/dev/null"), "/dev/console"),
            Mount(DataPath("cid_files/app_local_hello.cid"), "/run/cid", read_only=True),
        ),
        network="addons",
        extra_hosts={"supervisor": "172.30.32.2", "hassio": "172.30.32.2"},
        dropped_capabilities=("NET_RAW", "MKNOD"),
        pids_limit=4096,
        tmpfs=("/dev/shm",),
        init=True,
        oom_score_adjust=200,
        stop_timeout_s=10,
    )


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        ({"init": False}, "init", False),
        ({"stdin": True}, "stdin", True),
        ({"host_network": True, "ports": {"80/tcp": 80}}, "network", "host"),
        ({"host_network": True, "ports": {"80/tcp": 80}}, "ports", ()),
        ({"host_uts": True}, "host_uts", True),
        ({"host_uts": True}, "hostname", None),
        ({"host_ipc": True}, "host_ipc", True),
        ({"host_ipc": True}, "tmpfs", ()),
        ({"tmpfs": True}, "tmpfs", ("/tmp", "/dev/shm")),
        ({"timeout": 300}, "stop_timeout_s", 300),
        ({"apparmor": False}, "security_options", ("apparmor=unconfined",)),
        ({"privileged": ["SYS_ADMIN"]}, "security_options", ("seccomp=unconfined",)),
        ({"privileged": ["NET_ADMIN", "SYS_TIME"]}, "capabilities", ("NET_ADMIN", "SYS_TIME")),
        ({"privileged": ["NET_RAW"]}, "capabilities", ("NET_RAW",)),
        ({"privileged": ["NET_RAW"]}, "dropped_capabilities", ("MKNOD",)),
        ({"privileged": ["NET_ADMIN"]}, "dropped_capabilities", ("NET_RAW", "MKNOD")),
        ({"host_network": True}, "dropped_capabilities", ("NET_RAW", "MKNOD")),
        ({"full_access": True}, "dropped_capabilities", ("NET_RAW", "MKNOD")),
        ({"kernel_modules": True}, "capabilities", ("SYS_MODULE",)),
        ({"realtime": True}, "capabilities", ("SYS_NICE",)),
        ({"realtime": True, "kernel_modules": True, "privileged": ["SYS_NICE"]}, "capabilities",
         ("SYS_NICE", "SYS_MODULE")),
        ({"realtime": True}, "ulimits", (Ulimit("rtprio", 90, 99), Ulimit("memlock", 128 * MIB, 128 * MIB))),
        ({"ulimits": {"nofile": 1024, "nproc": {"soft": 1, "hard": 2}}}, "ulimits",
         (Ulimit("nofile", 1024, 1024), Ulimit("nproc", 1, 2))),
        ({"ports": {"80/tcp": 8080, "53/udp": 53, "90": 9090, "22/tcp": None}}, "ports",
         (Port(80, 8080), Port(53, 53, "udp"), Port(90, 9090))),
        ({"uart": True}, "device_rules", ("c 204:* rwm", "c 188:* rwm", "c 166:* rwm", "c 4:64 rwm")),
        ({"usb": True}, "device_rules", ("c 189:* rwm", "c 180:* rwm", "c 241:* rwm")),
        ({"gpio": True}, "device_rules", ("c 254:* rwm", "c 239:* rwm")),
        ({"video": True}, "device_rules",
         ("c 29:* rwm", "c 81:* rwm", "c 226:* rwm", "c 242:* rwm", "c 243:* rwm", "c 244:* rwm", "c 245:* rwm")),
        ({"devices": ["/dev/null", "/dev/nothing-like-this", "/etc/passwd"]}, "device_rules", ("c 1:3 rwm",)),
    ],
)  # fmt: skip
def test_key_becomes_field(config: dict[str, Any], field: str, value: object) -> None:
    assert getattr(spec(config), field) == value


@pytest.mark.parametrize(
    ("config", "protected", "unprotected"),
    [
        ({"host_pid": True}, ("host_pid", False), ("host_pid", True)),
        ({"full_access": True}, ("device_rules", ()), ("device_rules", ("a *:* rwm",))),
    ],
)
def test_protection_holds_back_what_endangers_the_host(
    config: dict[str, Any], protected: tuple[str, object], unprotected: tuple[str, object]
) -> None:
    assert getattr(spec(config), protected[0]) == protected[1]
    assert getattr(spec(config, protected=False), unprotected[0]) == unprotected[1]


@pytest.mark.parametrize(
    ("config", "source", "target", "read_only"),
    [
        ({"devicetree": True}, "/sys/firmware/devicetree/base", "/device-tree", True),
        ({"udev": True}, "/run/udev", "/run/udev", True),
        ({"kernel_modules": True}, "/lib/modules", "/lib/modules", True),
        ({"host_dbus": True}, "/run/dbus", "/run/dbus", True),
        ({"journald": True}, "/var/log/journal", "/var/log/journal", True),
        ({"journald": True}, "/run/log/journal", "/run/log/journal", True),
        ({"gpio": True}, "/sys/class/gpio", "/sys/class/gpio", False),
        ({"gpio": True}, "/sys/devices/platform/soc", "/sys/devices/platform/soc", False),
    ],
)
def test_system_path_is_shown_to_who_asks_for_it(
    config: dict[str, Any], source: str, target: str, read_only: bool
) -> None:
    assert mounts(spec(config))[target] == Mount(HostPath(source), target, read_only=read_only)
    assert target not in mounts(spec())


def test_system_path_that_the_host_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnyPath, "exists", lambda self: False)

    assert set(mounts(spec({"udev": True, "gpio": True}))) == {"/data", "/dev", "/run/cid"}


def test_engines_socket_is_shown_only_without_protection() -> None:
    assert "/run/docker.sock" not in mounts(spec({"docker_api": True}))
    assert mounts(spec({"docker_api": True}, protected=False))["/run/docker.sock"].read_only


FOLDERS = [
    ("config", "homeassistant", "/config"),
    ("homeassistant_config", "homeassistant", "/homeassistant"),
    ("app_config", "app_configs/local_hello", "/config"),
    ("addon_config", "app_configs/local_hello", "/config"),
    ("all_app_configs", "app_configs", "/app_configs"),
    ("all_addon_configs", "app_configs", "/addon_configs"),
    ("local_apps", "apps/local", "/local_apps"),
    ("addons", "apps/local", "/addons"),
    ("ssl", "ssl", "/ssl"),
    ("backup", "backup", "/backup"),
    ("share", "share", "/share"),
    ("media", "media", "/media"),
]


@pytest.mark.parametrize(("kind", "source", "target"), FOLDERS)
@pytest.mark.parametrize("read_only", [True, False])
def test_mapped_folder_is_shown_at_its_place(kind: str, source: str, target: str, read_only: bool) -> None:
    found = mounts(spec({"map": [{"type": kind, "read_only": read_only}]}))

    assert found[target].source == DataPath(source)
    assert found[target].read_only is (read_only or source == "app_configs")  # see test_mount_sources.py
    assert found[target].propagation == ("rslave" if kind in {"share", "media"} else "rprivate")


@pytest.mark.parametrize(("kind", "source", "target"), FOLDERS)
def test_mapped_folder_is_shown_where_the_add_on_wants_it(kind: str, source: str, target: str) -> None:
    found = mounts(spec({"map": [{"type": kind, "path": "/elsewhere"}]}))

    assert found["/elsewhere"].source == DataPath(source)
    assert target not in found


def test_data_folder_is_writable_wherever_it_is_shown() -> None:
    found = mounts(spec({"map": [{"type": "data", "path": "/var/lib/hello", "read_only": True}]}))

    assert found["/var/lib/hello"] == Mount(DataPath("apps/data/local_hello"), "/var/lib/hello")
    assert "/data" not in found


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["config", "app_config", "homeassistant_config"], {"/config": "homeassistant"}),
        (["app_config", "addon_config"], {"/config": "app_configs/local_hello"}),
        (["app_config", "homeassistant_config"],
         {"/config": "app_configs/local_hello", "/homeassistant": "homeassistant"}),
        (["all_app_configs", "all_addon_configs"], {"/app_configs": "app_configs"}),
        (["local_apps", "addons"], {"/local_apps": "apps/local"}),
    ],
)  # fmt: skip
def test_older_way_of_asking_gives_way_to_the_newer_one(kinds: list[str], expected: dict[str, str]) -> None:
    found = spec({"map": [{"type": kind} for kind in kinds]}).mounts

    shown = {m.target: m.source.path for m in found if isinstance(m.source, DataPath) and m.target not in NOT_MAPPED}
    assert shown == expected


NOT_MAPPED = {"/data", "/run/cid"}


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [([], False), (["app_config"], True), (["addon_config"], True), (["config", "app_config"], False)],
)
def test_folder_of_its_own_is_made_only_for_who_is_shown_it(kinds: list[str], wanted: bool) -> None:
    fresh = InstalledAddon.fresh(HELLO, "x:1", addon_config("hello", map=[{"type": kind} for kind in kinds]), set())

    assert wants_config_folder(fresh.config) is wanted


def test_environment_is_the_add_ons_own_and_cannot_replace_ours() -> None:
    found = spec({"environment": {"COLOUR": "red", "SUPERVISOR_TOKEN": "forged", "TZ": "Mars"}}).environment

    assert found == {
        "COLOUR": "red", "TZ": "Europe/Vienna", "SUPERVISOR_TOKEN": "the token", "HASSIO_TOKEN": "the token"
    }  # fmt: skip


def test_old_add_on_finds_its_scalar_options_in_the_environment() -> None:
    config = {"legacy": True, "options": {"port": 80, "name": "x", "list": [1]}, "schema": {}}

    found = spec(config, options={"name": "y", "ratio": 0.5}).environment

    assert {name: found[name] for name in ("port", "name", "ratio")} == {"port": "80", "name": "y", "ratio": "0.5"}
    assert "list" not in found


def test_users_ports_take_the_place_of_the_configurations() -> None:
    found = spec({"ports": {"80/tcp": 8080, "90/tcp": None}}, network={"80/tcp": None, "90/tcp": 9999})

    assert found.ports == (Port(90, 9999),)


def test_device_that_an_option_names_is_allowed_once() -> None:
    assert spec({"devices": ["/dev/null"]}, devices=("/dev/null", "/dev/zero")).device_rules == (
        "c 1:3 rwm", "c 1:5 rwm"
    )  # fmt: skip


def test_token_is_in_no_label() -> None:
    assert "the token" not in spec().labels.values()


def test_device_behind_a_link_is_known_by_it(tmp_path: Path) -> None:
    node = devices.DeviceNode.at("/dev/null")

    assert node is not None
    assert (node.path, node.kind, node.major, node.minor, node.subsystem) == ("/dev/null", "c", 1, 3, "mem")
    assert devices.DeviceNode.at(str(tmp_path)) is None
