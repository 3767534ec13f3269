"""Checking a ``config.yaml``: what is refused, what is out of date, and what does not fit together.

Everything here is about one file; what an add-on's folder lacks is found in :mod:`rooftree_store.lint.addon_folder`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rooftree_store.addon_config import (
    KEYS,
    OLD_KEYS,
    WITHOUT_EFFECT,
    AddonConfig,
    ConfigInvalid,
    ParsedAddon,
    parse_addon_config,
)
from rooftree_store.lint.advisories import note_advisories
from rooftree_store.lint.findings import CheckedFile
from rooftree_store.lint.hints import note_hints
from rooftree_store.option_places import SECRET_PREFIX
from rooftree_store.options import check_value, may_be_missing
from rooftree_store.options_schema import Element, Kind, ListOf, MapOf, OptionsSchema, Scalar
from rooftree_store.patterns import compiled
from rooftree_store.readers import Refused, join
from rooftree_store.versions import is_ordered

_SERVICES_ELSEWHERE: Final = frozenset({"mqtt", "mysql"})
"""Those that other supervisors know."""
_INGRESS_ONLY: Final = (
    "ingress_entry",
    "ingress_port",
    "ingress_stream",
    "panel_admin",
    "panel_icon",
    "panel_title",
)
_PORT: Final = re.compile(r"\[PORT:(?P<number>[0-9]+)\]")
_PROTOCOL: Final = re.compile(r"\[PROTO:(?P<option>[\w-]+)\]")


def check_config(file: CheckedFile) -> ParsedAddon | None:
    """Note what is wrong with a configuration; what it says, where it is accepted."""
    raw = file.content
    file.unknown_keys("", raw, (*KEYS, *OLD_KEYS, *WITHOUT_EFFECT))
    _check_inner_keys(file)
    try:
        parsed = parse_addon_config(raw)
    except ConfigInvalid as error:
        file.refused(error, OLD_KEYS)
        return None
    config = parsed.config
    note_advisories(file, config, parsed.advisories)
    _check_versions(file, config)
    _check_addresses(file, config)
    _check_reach(file, config)
    _check_options(file, config)
    _check_elsewhere(file, config)
    note_hints(file, config)
    return parsed


def _check_inner_keys(file: CheckedFile) -> None:
    entries = file.content.get("map")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        file.unknown_keys(f"map[{index}]", entry, ("type", "read_only", "path"))
    limits = file.content.get("ulimits")
    for name, limit in limits.items() if isinstance(limits, Mapping) else ():
        file.unknown_keys(f"ulimits.{name}", limit, ("soft", "hard"))


def _check_versions(file: CheckedFile, config: AddonConfig) -> None:
    keys = [
        "version",
        "homeassistant",
        *(f"breaking_versions[{index}]" for index in range(len(config.breaking_versions))),
    ]
    values = [config.version, config.homeassistant, *config.breaking_versions]
    content = file.content
    raws = [content["version"], content.get("homeassistant"), *content.get("breaking_versions", ())]
    for key, value, raw in zip(keys, values, raws, strict=True):
        written = file.places.written.get(key)
        if isinstance(raw, bool):
            told = written or str(raw).lower()
            file.warning("unquoted-version", key, f"{told} is true or false to YAML, and no version; put it in quotes")
        elif written is not None:
            file.warning("unquoted-version", key, f"{written} is read as the number {value}; put it in quotes")
    if not is_ordered(config.version) and not isinstance(content["version"], bool):
        file.hint("unordered-version", "version", f"{config.version!r} cannot be compared with other versions")


def _check_addresses(file: CheckedFile, config: AddonConfig) -> None:
    ports = config.ports or {}
    for key in config.ports_description or ():
        if key not in ports:
            file.warning("unknown-port", f"ports_description.{key}", "describes a port that is not among the ports")
    known = set(config.schema.root.fields) if config.schema is not None else None
    for key, address in (("webui", config.webui), ("watchdog", config.watchdog)):
        if address is None:
            continue
        port = _PORT.search(address)
        if port is not None and not {port["number"], f"{port['number']}/tcp"} & set(ports) and not config.host_network:
            file.warning("unknown-port", key, f"names the port {port['number']}, which is not among the ports")
        protocol = _PROTOCOL.search(address)
        if protocol is not None and known is not None and protocol["option"] not in known:
            file.hint("unknown-option", key, f"asks the option {protocol['option']}, which the schema does not have")


def _check_reach(file: CheckedFile, config: AddonConfig) -> None:
    """What an add-on asks for and cannot get, or what keeps it from being offered."""
    if not config.ingress:
        for key in _INGRESS_ONLY:
            if key in file.content:
                file.warning("without-effect", key, "has no effect without ingress: true")
    if config.hassio_role != "default" and not config.hassio_api:
        file.warning("without-effect", "hassio_role", "has no effect without hassio_api: true")
    if not config.arch:
        file.warning("never-available", "arch", "is empty, so that the add-on can be installed nowhere")
    if config.machine and all(machine.startswith("!") for machine in config.machine):
        file.warning(
            "never-available", "machine", "has nothing but exceptions: other supervisors then offer the add-on nowhere"
        )


def _check_elsewhere(file: CheckedFile, config: AddonConfig) -> None:
    """What is accepted here, and keeps an add-on from being offered elsewhere; and what is taken as it is meant."""

    def refused(key: str, wanted: str) -> None:
        file.warning("refused-elsewhere", key, f"is accepted here, and other supervisors refuse it: {wanted}")

    entries = file.content.get("map")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, Mapping) and not isinstance(entry.get("read_only", True), bool):
            refused(f"map[{index}].read_only", "write true or false, without quotes")
    for index, role in enumerate(config.services or ()):
        if role.service not in _SERVICES_ELSEWHERE:
            refused(f"services[{index}]", "they know mqtt and mysql; here a plugin can add others")
    if config.ingress_port == 0 and isinstance(file.content.get("ingress_port"), str):
        refused("ingress_port", "write 0, without quotes")
    for path, element in _elements(config.schema.root, "schema") if config.schema is not None else ():
        subsystem = element.subsystem if isinstance(element, Scalar) else None
        if subsystem is not None and not (subsystem.isalpha() and subsystem.isascii()):
            refused(path, "the name of a subsystem may have letters only; device alone offers every device")
    if "homeassistant" in file.content and config.homeassistant is None:
        file.hint("empty-key", "homeassistant", "is left empty; take it out, or name the oldest version that will do")
    devices = file.content.get("devices")
    for index, device in enumerate(devices if isinstance(devices, list) else ()):
        if not str(device).startswith("/"):
            file.hint("device-name", f"devices[{index}]", f"is read as {(config.devices or ())[index]}; write that")


# --- options and their schema -----------------------------------------------------------------------------------------


def _check_options(file: CheckedFile, config: AddonConfig) -> None:
    schema = config.schema
    if schema is None:
        file.warning("schema-false", "schema", "is false: other supervisors then hand no options to the add-on at all")
        return
    _check_defaults(file, schema, config.options)
    for path, element in _elements(schema.root, "schema"):
        if isinstance(element, ListOf) and element.ignored:
            file.warning("without-effect", f"{path}[1]", "is ignored: a list has elements of one type, the first")
        if isinstance(element, Scalar) and element.kind is Kind.MATCH and compiled(element.pattern or "") is None:
            file.warning("unusable-pattern", path, "is no valid, or no affordable pattern: no value can be accepted")


def _elements(element: Element, path: str) -> Iterator[tuple[str, Element]]:
    yield path, element
    if isinstance(element, MapOf):
        for name, inner in element.fields.items():
            yield from _elements(inner, join(path, name))
    elif isinstance(element, ListOf):
        yield from _elements(element.element, f"{path}[0]")


def _check_defaults(file: CheckedFile, schema: OptionsSchema, defaults: Mapping[str, Any]) -> None:
    _check_default(file, schema.root, defaults, "options")
    for name, element in schema.root.fields.items():
        if defaults.get(name) is None and not isinstance(element, MapOf) and not may_be_missing(element):
            file.hint(
                "no-default",
                f"schema.{name}",
                "is required and has no default: the add-on starts only after its user has set it",
            )


def _check_default(file: CheckedFile, element: Element, value: Any, path: str) -> None:
    if value is None:
        return
    match element:
        case MapOf() if isinstance(value, Mapping):
            for name, inner in value.items():
                if name in element.fields:
                    _check_default(file, element.fields[name], inner, join(path, name))
                else:
                    file.warning(
                        "unknown-option", join(path, name), "is not in the schema, so it never reaches the add-on"
                    )
        case ListOf() if isinstance(value, list):
            for index, inner in enumerate(value):
                _check_default(file, element.element, inner, f"{path}[{index}]")
        case Scalar():
            _check_scalar(file, element, value, path)
        case _:
            wanted = "a mapping" if isinstance(element, MapOf) else "a list"
            file.warning(
                "refused-default",
                path,
                f"must be {wanted}, says the schema: the add-on does not start with this default",
            )


def _check_scalar(file: CheckedFile, element: Scalar, value: Any, path: str) -> None:
    if element.kind is Kind.DEVICE or (isinstance(value, str) and value.startswith(SECRET_PREFIX)):
        return  # what these are worth, only the host knows
    try:
        check_value(element, value)
    except Refused as error:
        wrong = error.findings[0].message
        if value == "" and element.optional:
            return
        if value == "":
            file.hint("no-default", path, f"is empty, and {wrong}: the add-on starts only after its user has set it")
        else:
            wrong += f", says the schema: the add-on does not start with this default{file.as_written(path)}"
            file.warning("refused-default", path, wrong)
