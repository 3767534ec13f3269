"""The linter: every finding with its place, and never anything but findings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from rooftree_store.lint import FileFinding, Report, Severity, check
from tests.plugins.store.corpus import CORPUS, needs_corpus, rows
from tests.plugins.store.test_corpus import DELIBERATE_DIFFERENCES
from tests.plugins.store.test_strange_input import MAPPINGS
from tests.rig.files import write_files

CONFIG = """\
name: Lamp
version: "1.0"
slug: lamp
description: Shines
arch: [amd64]
image: example.com/lamp
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An add-on to which nothing can be said."""
    lamp = tmp_path / "lamp"
    write_files(lamp, {"config.yaml": CONFIG, "README.md": "", "DOCS.md": "", "CHANGELOG.md": ""})
    for name in ("icon.png", "logo.png"):
        (lamp / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    return lamp


def told(report: Report) -> list[tuple[str, int | None, int | None, str, str]]:
    """What was found: code, line, column, key, and the sentence."""
    return [(found.code, found.line, found.column, found.key, found.message) for found in report.findings]


def of(folder: Path, text: str) -> list[tuple[str, int | None, int | None, str, str]]:
    """What is found when that stands at the end of the configuration."""
    (folder / "config.yaml").write_text(CONFIG + text)
    return told(check([folder]))


def one(folder: Path, text: str) -> tuple[str, int | None, int | None, str, str]:
    """The only finding."""
    (found,) = of(folder, text)
    return found


def codes(report: Report) -> set[tuple[str, str]]:
    """File names with codes."""
    return {(Path(found.file).name, found.code) for found in report.findings}


def test_add_on_that_is_as_it_should_be_has_no_findings(folder: Path) -> None:
    report = check([folder])

    assert told(report) == []
    assert [(addon.parsed is not None, addon.file) for addon in report.addons] == [(True, str(folder / "config.yaml"))]


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "key"),
    [
        ("startup: soon\n", 7, 1, "startup"),
        ("ports:\n  80/tcp: 80\n  81/tcp: many\n", 9, 3, "ports.81/tcp"),
        ("map: [ssl, {type: share, read_only: perhaps}]\n", 7, 26, "map[1].read_only"),
        ("map:\n  - moon\n  - {type: sun}\n", 9, 6, "map[1].type"),
        ("privileged:\n  - NET_ADMIN\n  - ROOT\n", 9, 5, "privileged[1]"),
        ("schema:\n  a:\n    - b: nothing\n", 9, 7, "schema.a[0].b"),
        ("x: &x {type: sun}\nmap:\n  - *x\n", 9, 5, "map[0].type"),
        ("snapshot_exclude: all\n", 7, 1, "snapshot_exclude"),
        ("arch: []\narch: [amd64, arm64]\n", 8, 15, "arch[1]"),
    ],
)
def test_error_stands_where_its_value_does(folder: Path, text: str, line: int, column: int, key: str) -> None:
    errors = [found for found in check_text(folder, text) if found.severity is Severity.ERROR]

    assert [(found.line, found.column, found.key) for found in errors] == [(line, column, key)]


def check_text(folder: Path, text: str) -> list[FileFinding]:
    (folder / "config.yaml").write_text(CONFIG + text)
    return check([folder]).findings


def test_json_has_places_too_with_tabs_and_without_spaces(folder: Path) -> None:
    (folder / "config.yaml").unlink()
    content = {**yaml.safe_load(CONFIG), "startup": "soon"}
    (folder / "config.json").write_text(json.dumps(content, indent="\t", separators=(",", ":")))

    (found,) = check([folder]).findings

    assert (found.key, found.line, found.column) == ("startup", 10, 2)


def test_missing_key_stands_at_the_beginning(folder: Path) -> None:
    (folder / "config.yaml").write_text("# Nothing\n" + CONFIG.replace("slug: lamp\n", ""))

    assert told(check([folder])) == [("invalid", 1, 1, "slug", "is required")]


@pytest.mark.parametrize(
    ("name", "text", "line", "column"),
    [
        ("config.yaml", "name: [\nx: }", 2, 4),
        ("config.json", '{\n "name": }', 2, 10),
        ("config.yaml", "- 1\n", None, None),
        ("config.yaml", "a: 1\n---\nb: 1\n", 2, 1),
    ],
)
def test_file_that_cannot_be_read_says_where(
    folder: Path, name: str, text: str, line: int | None, column: int | None
) -> None:
    (folder / "config.yaml").unlink()
    (folder / name).write_text(text)

    (found,) = check([folder]).findings

    assert (found.severity, found.code, found.line, found.column) == (Severity.ERROR, "unreadable", line, column)


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(folder: Path) -> None:
    (found,) = check_text(folder, '"\\e[2Jred": 1\n')

    assert "\x1b" not in str(found)
    assert found.key == "\\x1b[2Jred"


WEBUI = "ports: {80/tcp: 80}\nwebui: http://[HOST]:[PORT:80]/\n"


# --- what is said of a configuration ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "key", "says"),
    [
        ("ingres: true\n", "unknown-key", "ingres", "did you mean ingress?"),
        ("map: [{type: ssl, readonly: false}]\n", "unknown-key", "map[0].readonly", "did you mean read_only?"),
        ("ulimits: {nofile: {soft: 1, hard: 1, hrd: 2}}\n", "unknown-key", "ulimits.nofile.hrd", "did you mean hard?"),
        ("stage: stable\nstage: deprecated\n", "repeated-key", "stage", "only the last one counts"),
        ("advanced: true\n", "advanced", "advanced", "take it out"),
        ("codenotary: x\n", "codenotary", "codenotary", "take it out"),
        ("machine: [tinker]\n", "deprecated-machine", "machine", "32-bit system: tinker"),
        ("machine: ['!green']\n", "never-available", "machine", "nothing but exceptions"),
        ("startup: before\n", "deprecated-startup", "startup", "before is called services now"),
        ("auto_uart: true\n", "auto_uart", "auto_uart", "is called uart now, since Supervisor 2021.02"),
        ("snapshot: cold\n", "snapshot-key", "snapshot", "is called backup now, since Supervisor 2021.08"),
        ("tmpfs: size=1M\n", "tmpfs-format", "tmpfs", "true or false"),
        ("devices: ['/dev/a:/dev/b:rwm']\n", "devices-format", "devices[0]", "a path alone now: /dev/a"),
        ("map: [ssl, moon]\n", "map-entry-invalid", "map[1]", "'moon' is no folder"),
        ("map: [ssl:w]\n", "map-entry-invalid", "map[0]", "ro or rw"),
        ("map: [{path: /x}]\n", "map-entry-invalid", "map[0]", "has no type"),
        ("map: [share, addons]\n", "legacy-map-type", "map[1]", "local_apps now, since Supervisor 2026.07. Older"),
        ("map: [config:rw]\n", "map-config-deprecated", "map[0]", "use homeassistant_config"),
        ("full_access: true\nuart: true\n", "full_access-redundant", "uart", "drop full_access"),
        ("backup: cold\nbackup_pre: sync\n", "backup-cold-commands", "backup_pre", "never run"),
        ("version: 1.10\n", "unquoted-version", "version", "1.10 is read as the number 1.1"),
        ("homeassistant: 2022.10\n", "unquoted-version", "homeassistant", "put it in quotes"),
        ("homeassistant: true\n", "unquoted-version", "homeassistant", "true is true or false to YAML, and no version"),
        ("version: on\n", "unquoted-version", "version", "on is true or false to YAML"),
        ("homeassistant:\n", "empty-key", "homeassistant", "is left empty"),
        ("map: {share: rw, ssl: }\n", "map-format", "map", "write [share:rw, ssl]"),
        ("devices: [ttyUSB0]\n", "device-name", "devices[0]", "is read as /dev/ttyUSB0"),
        ("map: [{type: share, read_only: 'false'}]\n", "refused-elsewhere", "map[0].read_only", "without quotes"),
        ("map: [{type: share, read_only: 0}]\n", "refused-elsewhere", "map[0].read_only", "true or false"),
        ("ingress: true\ningress_port: '0'\n", "refused-elsewhere", "ingress_port", "write 0"),
        ("services: [mqtt:want, ntp:want]\n", "refused-elsewhere", "services[1]", "they know mqtt and mysql"),
        ("map: [config:rw]\n", "map-config-deprecated", "map[0]", "called addon_config before Supervisor 2026.07"),
        ("boot: auto\n", "default-value", "boot", "is 'auto', as it is where it is not there"),
        ("init: true\n", "default-value", "init", "is true, as it is"),
        ("timeout: 10\n", "default-value", "timeout", "is 10, as it is"),
        ("map: []\n", "default-value", "map", "is empty, as it is"),
        ("options: {}\n", "default-value", "options", "is empty, as it is"),
        ("video: 'on'\n", "flag-as-text", "video", "is 'on', and read as true: write that, without quotes"),
        ("apparmor: 'false'\n", "flag-as-text", "apparmor", "and read as false"),
        ("host_network: 1\n", "flag-as-text", "host_network", "is 1, and read as true"),
        ("timeout: '30'\n", "number-as-text", "timeout", "is '30', and read as the number"),
        ("ports: {80/tcp: '8080'}\n", "number-as-text", "ports.80/tcp", "write it without quotes"),
        ("ulimits: {nofile: {soft: '1', hard: 1}}\n", "number-as-text", "ulimits.nofile.soft", "is '1'"),
        (f"ingress: true\n{WEBUI}", "webui-beside-ingress", "webui", "hardly needed beside ingress"),
        ("ingress: true\ningress_port: 0\n", "ingress-port-0", "ingress_port", "the port can be named"),
        ("full_access: true\n", "full-access", "full_access", "name them (devices, uart"),
        ("watchdog: tcp://[HOST]:80\n", "watchdog-address", "watchdog", "a HEALTHCHECK in the image's Dockerfile"),
        ("breaking_versions: [2.10]\n", "unquoted-version", "breaking_versions[0]", "2.1"),
        ("version: some day\n", "unordered-version", "version", "cannot be compared"),
        ("ports_description: {80/tcp: Web}\n", "unknown-port", "ports_description.80/tcp", "not among the ports"),
        ("webui: http://[HOST]:[PORT:80]/\n", "unknown-port", "webui", "names the port 80"),
        ("watchdog: '[PROTO:ssl]://[HOST]:80'\n", "unknown-option", "watchdog", "the option ssl"),
        ("panel_icon: mdi:lamp\n", "without-effect", "panel_icon", "ingress: true"),
        ("hassio_role: manager\n", "without-effect", "hassio_role", "hassio_api: true"),
        ("arch: []\n", "never-available", "arch", "is empty"),
        ("schema: false\n", "schema-false", "schema", "no options"),
        ("options: {a: 1}\n", "unknown-option", "options.a", "not in the schema"),
    ],
)
def test_what_is_accepted_and_not_as_it_should_be_is_said(
    folder: Path, text: str, code: str, key: str, says: str
) -> None:
    found = [found for found in of(folder, text) if found[0] not in {"repeated-key"} or code == "repeated-key"]

    ((its_code, line, _, its_key, sentence),) = found
    assert (its_code, its_key) == (code, key)
    assert says in sentence
    assert line is not None and line > 6


def test_entry_of_a_mapping_under_map_is_said_at_its_place(folder: Path) -> None:
    found = of(folder, "map: {share: rw, moon: rw}\n")

    assert [(one[0], one[3]) for one in found] == [("map-format", "map"), ("map-entry-invalid", "map.moon")]


@pytest.mark.parametrize(
    "text",
    [
        "boot: manual\ninit: false\ntimeout: 30\n",
        "ingress: true\ningress_port: 0\nhost_network: true\n",
        "ingress: true\ningress_port: 8080\n",
        WEBUI,
        "ports: {80/tcp: null, 81/tcp: 8081}\n",
        "homeassistant: '2026.1'\n",
    ],
)
def test_what_has_its_reason_is_not_hinted_at(folder: Path, text: str) -> None:
    assert of(folder, text) == []


def test_hints_are_hints(folder: Path) -> None:
    found = check_text(folder, "boot: auto\nvideo: 'on'\nwatchdog: tcp://[HOST]:80\nmap: [addon_config]\n")

    assert {found.severity for found in found} == {Severity.HINT} and len(found) == 4


def test_deprecated_architectures_of_a_build_file_are_hinted_at(built: Path) -> None:
    (built / "Dockerfile").write_text("ARG BUILD_FROM\nFROM $BUILD_FROM\n")
    (built / "build.yaml").write_text("build_from: {amd64: a/b, aarch64: a/b, armv7: a/b}\n")

    found = [found for found in check([built]).findings if found.code == "deprecated-arch"]

    assert [(found.severity, found.key, found.line) for found in found] == [(Severity.HINT, "build_from.armv7", 1)]


@pytest.mark.parametrize("subsystem", ["video4linux", "rpivid-hevcmem"])
def test_subsystem_that_other_supervisors_do_not_read_is_said(folder: Path, subsystem: str) -> None:
    found = of(folder, f"schema: {{a: device(subsystem={subsystem})?, b: device(subsystem=tty)?}}\n")[1:]

    assert [(one[0], one[3]) for one in found if one[0] != "no-translations"] == [("refused-elsewhere", "schema.a")]


@pytest.mark.parametrize(("written", "kind"), [("yes", "list(yes|no)"), ("22:30", "str"), ("010", "list(010)")])
def test_default_of_which_yaml_made_another_value_is_told_as_it_was_written(
    folder: Path, written: str, kind: str
) -> None:
    found = of(folder, f"options: {{a: {written}}}\nschema: {{a: {kind}}}\n")

    (told,) = [one[4] for one in found if one[0] == "refused-default"]
    assert told.endswith(f"YAML makes another value of {written} without quotes")


def test_value_of_which_yaml_made_another_is_told_as_it_was_written(folder: Path) -> None:
    found = of(folder, "description: off\nservices: [22:30]\n")[1:]

    assert [one[4].partition("YAML ")[2] for one in found if one[0] == "invalid"] == [
        "makes another value of off without quotes",
        "makes another value of 22:30 without quotes",
    ]


def test_deprecated_architectures_are_said_once_with_those_that_are_supported(folder: Path) -> None:
    (found,) = of(folder, "arch: [armv7, amd64, i386]\n")[1:]

    assert found[0] == "deprecated-arch"
    assert found[4] == "deprecated: armv7, i386; supported are aarch64 and amd64"


def test_machine_in_an_images_name_is_said_to_be_no_good_elsewhere(folder: Path) -> None:
    found = of(folder, "image: example.com/{machine}-lamp\n")

    assert [one[0] for one in found] == ["repeated-key", "image-machine"]


def test_folders_that_config_hides_are_named(folder: Path) -> None:
    (found,) = of(folder, "map: [config, addon_config]\n")[:1]

    assert {found[0] for found in of(folder, "map: [config, app_config]\n")} == {"map-config-conflict"}
    assert found[3] == "map[1]"


@pytest.mark.parametrize("port", ["'80'", "80/tcp"])
def test_address_whose_port_is_listed_is_fine(folder: Path, port: str) -> None:
    assert of(folder, f"ports: {{{port}: 80}}\nwebui: http://[HOST]:[PORT:80]/\n") == []


TRANSLATED = "configuration: {a: {name: A}}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schema: {a: str}\n", ("no-default", "schema.a", "only after")),
        ("schema: {a: [int]}\n", ("no-default", "schema.a", "only after")),
        ("schema: {a: [{b: int}]}\n", ("no-default", "schema.a", "only after")),
        ("schema: {a: email}\noptions: {a: ''}\n", ("no-default", "options.a", "e-mail")),
        ("schema: {a: 'int(1,5)'}\noptions: {a: 9}\n", ("refused-default", "options.a", "must be 1 to 5")),
        ("schema: {a: [{b: port}]}\noptions: {a: [{b: 0}]}\n", ("refused-default", "options.a[0].b", "a port")),
        ("schema: {a: {b: str?}}\noptions: {a: {c: x}}\n", ("unknown-option", "options.a.c", "never reaches")),
        ("schema: {a: {b: str?}}\noptions: {a: 5}\n", ("refused-default", "options.a", "must be a mapping")),
        ("schema: {a: [str]}\noptions: {a: x}\n", ("refused-default", "options.a", "must be a list")),
        ("schema: {a: 'match(^[a)?'}\n", ("unusable-pattern", "schema.a", "no valid")),
        ("schema: {a: [str?, int]}\n", ("without-effect", "schema.a[1]", "the first")),
    ],
)
def test_options_and_schema_are_compared(folder: Path, text: str, expected: tuple[str, str, str]) -> None:
    write_files(folder, {"translations/en.yaml": TRANSLATED})

    code, _, _, key, sentence = one(folder, text)

    assert (code, key) == expected[:2]
    assert expected[2] in sentence


@pytest.mark.parametrize(
    "text",
    [
        "schema: {a: str}\noptions: {a: x}\n",
        "schema: {a: str?}\n",
        "schema: {a: device}\noptions: {a: /dev/ttyUSB0}\n",
        "schema: {a: int}\noptions: {a: '!secret pin'}\n",
        "schema: {a: {b: str?}}\n",
        "schema: {a: [str?]}\noptions: {a: null}\n",
    ],
)
def test_defaults_that_can_be_right_are_not_criticised(folder: Path, text: str) -> None:
    write_files(folder, {"translations/en.yaml": TRANSLATED})

    assert of(folder, text) == []


# --- what lies beside it ----------------------------------------------------------------------------------------------


def test_what_cannot_be_built_is_said(folder: Path) -> None:
    text = CONFIG.replace("image: example.com/lamp\n", "").replace("[amd64]", "[amd64, aarch64]")
    (folder / "config.yaml").write_text(text)
    nothing = told(check([folder]))
    (folder / "Dockerfile.amd64").write_text("FROM scratch\n")
    half = told(check([folder]))
    (folder / "Dockerfile").write_text("FROM scratch\n")

    assert [found[0] for found in nothing] == ["no-dockerfile"]
    assert nothing[0][4].endswith("no Dockerfile to build one from")
    assert half[0][4].endswith("for aarch64")
    assert told(check([folder])) == []


UNSET = "ARG BUILD_VERSION\nARG BUILD_FROM\nFROM $BUILD_FROM\nRUN true\n"


@pytest.fixture
def built(folder: Path) -> Path:
    """An add-on that is built on the host, with nothing but its Dockerfile missing."""
    text = CONFIG.replace("image: example.com/lamp\n", "").replace("[amd64]", "[amd64, aarch64]")
    (folder / "config.yaml").write_text(text)
    return folder


def errors(folder: Path) -> list[tuple[str, str, int | None, str]]:
    """File, code, line and sentence of what is refused."""
    return [
        (Path(found.file).name, found.code, found.line, found.message)
        for found in check([folder]).findings
        if found.severity is Severity.ERROR
    ]


def test_image_that_nothing_sets_is_said_with_what_to_write(built: Path) -> None:
    (built / "Dockerfile").write_text(UNSET)

    assert errors(built) == [
        (
            "Dockerfile",
            "no-base-image",
            3,
            "FROM $BUILD_FROM names no image, because nothing sets BUILD_FROM: write ARG BUILD_FROM=<image> above the "
            "first FROM, or name it under build_from in build.yaml",
        )
    ]


def test_image_is_looked_for_as_each_architecture_is_built(built: Path) -> None:
    (built / "Dockerfile").write_text("FROM scratch\n")
    (built / "Dockerfile.aarch64").write_text("ARG BUILD_ARCH\nFROM acme/$BUILD_ARCH:$TAG")

    ((file, code, line, sentence),) = errors(built)

    assert (file, code, line) == ("Dockerfile.aarch64", "no-base-image", 2)
    assert sentence.endswith("write ARG TAG=<value> above the first FROM, or name it under args in build.yaml")


@pytest.mark.parametrize(
    "build", ["{}", "build_from: {amd64: acme/base:1, aarch64: acme/base:2}", "build_from: acme/x"]
)
def test_build_file_sets_the_image(built: Path, build: str) -> None:
    (built / "Dockerfile").write_text(UNSET)
    (built / "build.yaml").write_text(build)

    assert errors(built) == []


def test_image_of_the_build_file_does_not_count_where_no_arg_names_it(built: Path) -> None:
    (built / "Dockerfile").write_text("FROM $BUILD_FROM\n")
    (built / "build.yaml").write_text("build_from: acme/base:1")

    ((_, _, _, sentence),) = errors(built)

    assert "write ARG BUILD_FROM above the first FROM, without which the value that it is given does not" in sentence


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere", "is a link that leads nowhere, and cannot be built from"),
        ("../Dockerfile", "leads out of its folder, and cannot be built from"),
        ("docs", "is a folder, not a regular file, and cannot be built from"),
    ],
)
def test_dockerfile_that_is_none_is_said(built: Path, target: str, says: str) -> None:
    (built.parent / "Dockerfile").write_text("FROM scratch\n")
    (built / "docs").mkdir()
    (built / "Dockerfile").symlink_to(target)

    assert errors(built) == [("Dockerfile", "unusable-dockerfile", None, says)]
    assert errors(built.parent)[-1] == ("Dockerfile", "unusable-dockerfile", None, says)


def test_dockerfile_may_be_a_link_within_the_add_on(built: Path) -> None:
    (built / "how").write_text(UNSET)
    (built / "Dockerfile").symlink_to("how")

    assert [(file, code) for file, code, *_ in errors(built)] == [("Dockerfile", "no-base-image")]


def test_what_the_store_could_show_is_said_in_one_hint(folder: Path) -> None:
    for name in ("icon.png", "DOCS.md"):
        (folder / name).unlink()

    ((code, _, _, _, sentence),) = told(check([folder]))

    assert code == "nothing-to-show"
    assert sentence == "has none of these, which the store would show: icon.png, DOCS.md"


def test_picture_of_another_kind_is_said(folder: Path) -> None:
    (folder / "logo.png").write_bytes(b"\xff\xd8\xff\xe0JFIF")

    assert codes(check([folder])) == {("logo.png", "no-png")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("build_from: debian\n", {"partly-refused", "deprecated-build-file"}),
        ("args: {A: 1.10}\n", {"partly-refused", "deprecated-build-file"}),
        ("# nothing\n", {"deprecated-build-file"}),
        ("build_form: a/b\n", {"unknown-key", "deprecated-build-file"}),
        ("squash: true\n", {"without-effect", "deprecated-build-file"}),
        ("build_from: {aarch64: a/b}\n", {"no-base-image", "deprecated-build-file"}),
        ("build_from: {amd64: a/b}\n", {"deprecated-build-file"}),
        ("args: [", {"unreadable"}),
    ],
)
def test_build_file_is_checked(folder: Path, text: str, expected: set[str]) -> None:
    (folder / "config.yaml").write_text(CONFIG.replace("image: example.com/lamp\n", ""))
    write_files(folder, {"build.yaml": text, "Dockerfile": ""})

    assert codes(check([folder])) == {("build.yaml", code) for code in expected}


@pytest.mark.parametrize(
    ("text", "named"),
    [("", True), ("args: {A: b}\n", True), ("build_from: debian\n", False), ("build_from: a/b\n", False)],
)
def test_build_file_without_a_base_image_is_told_which_one_that_means(folder: Path, text: str, named: bool) -> None:
    (folder / "build.yaml").write_text(text)

    said = next(finding.message for finding in check([folder]).findings if finding.code == "deprecated-build-file")

    assert ("makes BUILD_FROM ghcr.io/home-assistant/base:latest" in said) is named


OPTIONS = "schema: {a: str?, b: {c: str?, d: str?}}\nports: {80/tcp: 80}\n"


@pytest.mark.parametrize(
    ("text", "code", "key", "says"),
    [
        ("configuration: {a: {name: A}, b: {name: B, fields: {c: {name: C}}}}", "untranslated", "configuration", "b.d"),
        ("configuration: {a: {name: A}, b: {name: B}, e: {name: E}}", "unknown-option", "configuration.e", "schema"),
        ("configuration: {a: {name: A}, b: {name: B}}\nnetwork: {81/tcp: X}", "unknown-port", "network.81/tcp", "port"),
        ("configuration: {a: {name: A, lable: X}, b: {name: B}}", "unknown-key", "configuration.a.lable", "meaning"),
        ("configuration: {a: {description: A}, b: {name: B}}", "partly-refused", "configuration.a.name", "is required"),
        ("configuration: {a: {name: A}, b: {name: B}}\nnetworks: {}", "unknown-key", "networks", "mean network?"),
    ],
)
def test_translation_is_compared_with_options_and_ports(
    folder: Path, text: str, code: str, key: str, says: str
) -> None:
    write_files(folder, {"config.yaml": CONFIG + OPTIONS, "translations/en.yaml": text})

    found, *others = sorted(check([folder]).findings, key=lambda found: found.code != code)

    assert {found.code for found in others} <= {"untranslated"}  # which what is left out is too
    assert (Path(found.file).name, found.code, found.key) == ("en.yaml", code, key)
    assert says in found.message


def test_options_without_any_translation_are_said(folder: Path) -> None:
    assert [found[0] for found in of(folder, OPTIONS)] == ["no-translations"]


@pytest.mark.parametrize(
    ("profile", "line"),
    [
        ("#include <tunables/global>\nprofile lamp flags=(attach_disconnected) {\n}\n", None),
        ("profile lamp {\n}\nprofile other {\n}\n", 3),
        ("/bin/lamp {\n}\n", 1),
        (" profile lamp {\n}\n", 1),
    ],
)
def test_apparmor_profile_has_to_be_exactly_one(folder: Path, profile: str, line: int | None) -> None:
    write_files(folder, {"apparmor.txt": profile})

    lines = [(found.code, found.line) for found in check([folder]).findings]

    assert lines == ([("invalid-profile", line)] if line else [])


def test_apparmor_profile_of_an_add_on_that_wants_none_is_said(folder: Path) -> None:
    write_files(folder, {"config.yaml": CONFIG + "apparmor: false\n", "apparmor.txt": "profile lamp {\n}\n"})

    assert codes(check([folder])) == {("apparmor.txt", "without-effect")}


# --- repositories and single files ------------------------------------------------------------------------------------


def test_repository_is_checked_as_a_whole(folder: Path) -> None:
    root = folder.parent
    write_files(
        root,
        {
            "repository.yaml": "name: Mine\nmaintaner: me\n",
            "twin/config.yaml": CONFIG,
            "x/config.yml": "slug",
            "y/config.json": '{"port": 80}',
        },
    )

    report = check([root])

    found = {(Path(found.file).relative_to(root).as_posix(), found.code, found.severity) for found in report.findings}
    assert found == {
        ("repository.yaml", "unknown-key", Severity.WARNING),
        ("repository.yaml", "nothing-to-show", Severity.HINT),
        ("twin/config.yaml", "slug-taken", Severity.ERROR),
        ("twin/config.yaml", "nothing-to-show", Severity.HINT),
        ("x/config.yml", "unreadable", Severity.ERROR),
        ("y/config.json", "no-addon", Severity.HINT),
        ("x/config.yml", "nothing-to-show", Severity.HINT),
    }
    assert [addon.parsed is not None for addon in report.addons] == [True, True, False]


def test_folder_of_add_ons_without_a_repository_file_can_be_local_only(folder: Path) -> None:
    (found,) = check([folder.parent]).findings

    assert (found.severity, found.code) == (Severity.WARNING, "no-repository")


def test_folder_that_is_neither_is_an_error(tmp_path: Path) -> None:
    (found,) = check([tmp_path]).findings

    assert (found.severity, found.code) == (Severity.ERROR, "nothing-here")


def test_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    write_files(tmp_path, {"secret.yaml": "name: [token"})
    (folder / "build.yaml").symlink_to(tmp_path / "secret.yaml")

    (found,) = check([folder]).findings

    assert "leads out of its folder" in found.message
    assert "token" not in found.message


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("config.yaml", CONFIG + "startup: soon\n", "invalid"),
        ("other.json", "{", "unreadable"),
        ("repository.yml", "name: 5\nurl: https://x.y\nmaintainer: me\n", "invalid"),
        ("translations/de.yaml", "configuration: {a: 5}\n", "partly-refused"),
        ("apparmor.txt", "", "invalid-profile"),
        ("run.sh", "", "nothing-here"),
    ],
)
def test_single_file_is_checked_by_its_name(tmp_path: Path, name: str, text: str, code: str) -> None:
    write_files(tmp_path, {name: text})

    assert [found.code for found in check([tmp_path / name]).findings] == [code]


def test_single_translation_is_compared_with_its_add_on(folder: Path) -> None:
    write_files(folder, {"config.yaml": CONFIG + OPTIONS, "translations/de.yaml": "configuration: {z: {name: Z}}\n"})

    found = [found.code for found in check([folder / "translations" / "de.yaml"]).findings]

    assert found == ["untranslated", "unknown-option"]


# --- all of the corpus, and what nobody wrote -------------------------------------------------------------------------


@needs_corpus
def test_every_config_of_the_corpus_gets_the_verdict_of_the_reference_and_advisories_in_words() -> None:
    expected = {row[0]: row[1] == "valid" for row in rows("expected.tsv")} | dict.fromkeys(DELIBERATE_DIFFERENCES, True)
    normalised = {}
    for line in (CORPUS / "expected-normalized.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        normalised[row["relpath"]] = row

    report = check(sorted(path for below in ("addon-repos", "addon-history") for path in (CORPUS / below).iterdir()))

    addons = {str(Path(addon.file).relative_to(CORPUS)): addon.as_json() for addon in report.addons}
    said: dict[str, set[str]] = {}
    for found in report.findings:
        said.setdefault(str(Path(found.file).relative_to(CORPUS)), set()).add(found.code)
    strangers = {path for path in expected if "no-addon" in said.get(path, ())}
    assert len(strangers) == 4
    assert {path: addon["valid"] for path, addon in addons.items()} | dict.fromkeys(strangers, False) == expected
    for path, row in normalised.items():
        assert json.dumps(addons[path]["config"], sort_keys=True) == json.dumps(row["config"], sort_keys=True)
        assert set(row["advisories"]) <= said.get(path, set()), path
    for path, valid in expected.items():
        assert valid or said[path] & {"invalid", "unreadable", "no-addon"}, path


@needs_corpus
def test_every_other_file_of_the_corpus_gets_the_verdict_of_the_reference() -> None:
    wrong = {}
    for _, path, verdict, *_ in rows("expected-other.tsv"):
        found = check([CORPUS / path]).findings
        refused = any(one.severity is Severity.ERROR or one.code == "partly-refused" for one in found)
        if refused == (verdict == "valid"):
            wrong[path] = verdict

    assert wrong == {}


MINIMAL: dict[str, Any] = {**yaml.safe_load(CONFIG)}


@settings(deadline=None, max_examples=30)
@given(MAPPINGS, MAPPINGS)
def test_whatever_stands_in_the_files_there_are_findings_and_no_exceptions(
    tmp_path_factory: pytest.TempPathFactory, config: dict[Any, Any], other: dict[Any, Any]
) -> None:
    folder = tmp_path_factory.mktemp("strange")
    write_files(
        folder,
        {
            "config.yaml": yaml.safe_dump(config | MINIMAL),
            "build.yaml": yaml.safe_dump(other),
            "repository.yaml": yaml.safe_dump(other),
            "translations/en.yaml": yaml.safe_dump({"configuration": other} | other),
        },
    )

    report = check([folder])

    assert json.dumps([str(found) for found in report.findings]).isascii()
    for found in report.findings:
        str(found).encode()
    for addon in report.addons:
        json.dumps(addon.as_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["icon.png", "config.yaml", "build.yaml", "apparmor.txt", "translations/en.yaml"])
def test_pipe_in_place_of_a_file_holds_nobody_up(folder: Path, name: str) -> None:
    write_files(folder, {"config.yaml": CONFIG})
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)

    messages = [found.message for found in check([folder]).findings]

    assert any("is a pipe, not a regular file" in message for message in messages)


def test_more_translations_than_are_read_are_told(folder: Path) -> None:
    write_files(folder, {"config.yaml": CONFIG, **{f"translations/l{n}.yaml": "{}" for n in range(120)}})

    report = check([folder])

    assert [found.message for found in report.findings if found.code == "left-out"] == [
        "has more than 100 translations; the rest is left out"
    ]
    assert report.files == 101
