"""Reading add-on configurations: defaults, migrations, advisories, and refusals that name every field."""

import attrs
import pytest

from rooftree_store.addon_config import (
    ConfigInvalid,
    MapEntry,
    ServiceRole,
    UlimitPair,
    parse_addon_config,
)
from rooftree_store.vocabulary import MapType, Startup

MINIMAL = {"name": "Hello", "version": "1.0", "slug": "hello", "description": "Says hello", "arch": ["amd64"]}


def parse(**keys):
    return parse_addon_config(MINIMAL | keys)


def findings(**keys):
    with pytest.raises(ConfigInvalid) as refusal:
        parse(**keys)
    return {finding.path: finding.message for finding in refusal.value.findings}


def test_minimal_config_gets_the_documented_defaults():
    config = parse().config

    assert config.startup is Startup.APPLICATION
    assert (config.boot, config.stage, config.backup, config.hassio_role) == ("auto", "stable", "hot", "default")
    assert (config.init, config.apparmor, config.panel_admin) == (True, True, True)
    assert (config.host_network, config.ingress, config.docker_api) == (False, False, False)
    assert (config.ingress_port, config.timeout, config.panel_icon) == (8099, 10, "mdi:puzzle")
    assert (config.ports, config.machine, config.image, config.webui) == (None, None, None, None)
    assert (config.map, dict(config.options), config.breaking_versions) == ((), {}, ())
    assert config.schema is not None
    assert config.schema.source() == {}


def test_unknown_keys_are_dropped():
    assert "colour" not in parse(colour="red", **{"1": 2}).config.normalised()


def test_every_problem_is_named_at_once():
    found = findings(
        slug="has space",
        arch=["amd64", "arm64"],
        ports={"80/tcp": 0, "x": 1},
        environment={"A": 1},
        privileged="SYS_ADMIN",
        schema={"a": "nonsense", "b": [{"c": "str("}]},
        ulimits={"nofile": {"soft": 1}},
        map=[{"type": "moon"}, {"type": "ssl", "path": "relative"}],
        image="ghcr.io/Owner/x:1",
        startup="never",
    )

    assert set(found) == {
        "slug", "arch[1]", "ports.80/tcp", "ports.x", "environment.A", "privileged", "schema.a", "schema.b[0].c",
        "ulimits.nofile.hard", "map[0].type", "map[1].path", "image", "startup",
    }  # fmt: skip
    assert found["startup"] == "must be one of initialize, system, services, application, once, not 'never'"


@pytest.mark.parametrize("missing", ["name", "version", "slug", "description", "arch"])
def test_required_key_is_required(missing):
    with pytest.raises(ConfigInvalid) as refusal:
        parse_addon_config({key: value for key, value in MINIMAL.items() if key != missing})

    assert [str(finding) for finding in refusal.value.findings] == [f"{missing}: is required"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", 3),
        ("version", None),
        ("version", ["1"]),
        ("slug", ".."),
        ("slug", "a/b"),
        ("slug", "a\n"),
        ("arch", "amd64"),
        ("machine", ["!moon"]),
        ("machine", ["green", "green"]),
        ("url", "example.com"),
        ("url", "http://["),
        ("ports", {"8080 /tcp": 1}),
        ("ports", {"80/tcp": 65536}),
        ("ports", {"80/tcp": True}),
        ("ports", {80: 80}),
        ("ingress", "perhaps"),
        ("ingress_port", 70000),
        ("timeout", 9),
        ("timeout", 301),
        ("timeout", 10.5),
        ("devices", [""]),
        ("devices", ["./ttyUSB0"]),
        ("devices", [{"path": "/dev/ttyUSB0"}]),
        ("environment", [{"A": "1"}]),
        ("privileged", ["NET_BROADCAST"]),
        ("services", ["Postgres:want"]),
        ("services", ["postgres:wants"]),
        ("services", ["../mqtt:want"]),
        ("services", ["mqtt"]),
        ("discovery", "mqtt"),
        ("backup", "warm"),
        ("options", []),
        ("options", {"a": float("inf")}),
        ("options", {"a": [{1: "x"}]}),
        ("schema", None),
        ("schema", True),
        ("schema", {"a": []}),
        ("schema", {"a": [["str"]]}),
        ("ulimits", {"nofile": "many"}),
        ("webui", "http://[HOST]:[PORT]"),
        ("watchdog", "ftp://[HOST]:21"),
        ("breaking_versions", "1.0"),
    ],
)
def test_wrong_value_is_refused_under_its_key(key, value):
    found = findings(**{key: value})

    assert all(path == key or path.startswith((f"{key}.", f"{key}[")) for path in found)


def test_versions_are_texts_whatever_they_were_written_as():
    config = parse(version=1.5, homeassistant=True, breaking_versions=[2, "3.0"]).config

    assert (config.version, config.homeassistant, config.breaking_versions) == ("1.5", "True", ("2", "3.0"))


@pytest.mark.parametrize(
    ("value", "expected"), [("YES", True), ("off", False), ("disable", False), (0, False), (2, True), (None, False)]
)
def test_flags_are_lenient(value, expected):
    assert parse(ingress=value).config.ingress is expected


def test_values_with_a_shape_become_typed():
    config = parse(
        services=["mqtt:need"],
        ulimits={"nofile": {"soft": 1, "hard": 2}, "nproc": 5},
        map=["ssl", "share:rw", {"type": "data", "path": "/store"}],
        ports={"80/tcp": None, "53/udp": "5353"},
    ).config

    assert config.services == (ServiceRole("mqtt", "need"),)
    assert config.ulimits == {"nofile": UlimitPair(1, 2), "nproc": 5}
    assert config.map == (
        MapEntry(MapType.SSL, read_only=True),
        MapEntry(MapType.SHARE, read_only=False),
        MapEntry(MapType.DATA, read_only=True, path="/store"),
    )
    assert config.ports == {"80/tcp": None, "53/udp": 5353}


def test_normalised_config_reads_back_as_the_same_config():
    parsed = parse(
        services=["mqtt:need"], map=["ssl", {"type": "data", "path": "/x"}], ulimits={"a": {"soft": 1, "hard": 2}},
        schema={"a": "int(1,)?", "b": [{"c": "str"}]}, machine=["!green"], watchdog="tcp://[HOST]:[PORT:1]",
    )  # fmt: skip

    again = parse_addon_config(parsed.config.normalised())

    assert again.config == parsed.config


@pytest.mark.parametrize(
    ("keys", "code", "expected"),
    [
        ({"startup": "before"}, "deprecated-startup", {"startup": "services"}),
        ({"startup": "after"}, "deprecated-startup", {"startup": "application"}),
        ({"auto_uart": True}, "auto_uart", {"uart": True}),
        ({"devices": ["/dev/a:/dev/a:rwm"]}, "devices-format", {"devices": ["/dev/a"]}),
        ({"tmpfs": "size=10m"}, "tmpfs-format", {"tmpfs": True}),
        ({"snapshot": "cold"}, "snapshot-key", {"backup": "cold"}),
        ({"snapshot_exclude": ["*.log"]}, "snapshot-key", {"backup_exclude": ["*.log"]}),
        ({"map": ["moon", {"read_only": True}, 3]}, "map-entry-invalid", {"map": []}),
        ({"map": ["addons"]}, "legacy-map-type", {"map": [{"type": "addons", "read_only": True}]}),
        ({"map": ["config"]}, "map-config-deprecated", {}),
        ({"codenotary": "x"}, "codenotary", {}),
        ({"advanced": True}, "advanced", {}),
        ({"arch": ["armv7"]}, "deprecated-arch", {}),
        ({"machine": ["!tinker"]}, "deprecated-machine", {}),
        ({"full_access": True, "usb": True}, "full_access-redundant", {}),
        ({"backup": "cold", "backup_pre": "sync"}, "backup-cold-commands", {}),
        ({"image": "x/{machine}-y"}, "image-machine", {}),
    ],
)
def test_older_forms_are_migrated_and_noted(keys, code, expected):
    parsed = parse(**keys)

    assert parsed.advisories == (code,)
    assert parsed.config.normalised().items() >= expected.items()


def test_config_map_beside_its_successor_is_a_conflict():
    assert parse(map=["config", "homeassistant_config"]).advisories == ("map-config-conflict",)


def test_dynamic_ingress_port_excludes_ports_of_its_range():
    parse(ingress=True, ingress_port=0, ports={"61999/tcp": 1, "65501/tcp": 2})
    parse(ingress=False, ingress_port=0, ports={"62000/tcp": 1})

    assert set(findings(ingress=True, ingress_port=0, ports={"62000/tcp": None, "65500": 1})) == {
        "ports.62000/tcp",
        "ports.65500",
    }


def test_migration_leaves_the_raw_mapping_alone():
    raw = MINIMAL | {"startup": "before", "map": ["ssl"], "devices": ["/dev/a:x"]}
    before = {key: list(value) if isinstance(value, list) else value for key, value in raw.items()}

    parse_addon_config(raw)

    assert raw == before


def test_equal_parts_of_different_addons_are_one_object():
    keys = {"arch": ["aarch64", "amd64"], "map": ["ssl", "share:rw"], "schema": {"port": "int(1,65535)?"}}
    one, other = parse(**keys).config, parse(slug="other", **keys).config

    assert one.arch is other.arch
    assert one.map is other.map
    assert one.schema.root.fields["port"] is other.schema.root.fields["port"]


def test_config_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        parse().config.name = "x"


def test_message_is_cut_when_there_is_no_end_of_problems():
    with pytest.raises(ConfigInvalid) as refusal:
        parse(environment={f"K{number}": number for number in range(100)})

    assert len(refusal.value.findings) == 50
    assert refusal.value.message.endswith("; and many more")
    assert len(refusal.value.message) < 1000


def test_message_counts_what_it_leaves_out():
    with pytest.raises(ConfigInvalid) as refusal:
        parse(environment={f"K{number}": number for number in range(30)})

    shown, _, more = refusal.value.message.rpartition("; and ")
    assert more == f"{30 - len(shown.split('; environment'))} more"


def test_what_others_accept_is_accepted_as_it_is_meant():
    config = parse_addon_config(
        MINIMAL
        | {
            "homeassistant": None,
            "map": {"share": "rw", "ssl": None, "media": "ro", "moon": "rw"},
            "devices": ["ttyUSB0", "dev/ttyACM0", "serial/by-id/x", "/dev/ttyAMA0", "ttyUSB1:/dev/ttyUSB1"],
        }
    )

    assert config.config.homeassistant is None
    assert [(entry.type, entry.read_only) for entry in config.config.map] == [
        ("share", False),
        ("ssl", True),
        ("media", True),
    ]
    assert config.config.devices == (
        "/dev/ttyUSB0", "/dev/ttyACM0", "/dev/serial/by-id/x", "/dev/ttyAMA0", "/dev/ttyUSB1",
    )  # fmt: skip
    assert config.advisories == ("devices-format", "map-entry-invalid", "map-format")
    assert parse_addon_config(config.config.normalised()).config == config.config
