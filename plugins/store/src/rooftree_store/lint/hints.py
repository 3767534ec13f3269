"""What of a configuration could be better, said as hints, and only of keys of which nothing else is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from rooftree_store.addon_config import AddonConfig
from rooftree_store.lint.advisories import BESIDE_FULL_ACCESS
from rooftree_store.lint.findings import CheckedFile
from rooftree_store.readers import flag, join, shown

_NUMBERS: Final = ("ingress_port", "timeout")

type _Told = Iterator[tuple[str, str, str]]
"""Codes, keys and sentences."""


def note_hints(file: CheckedFile, config: AddonConfig) -> None:
    """Note what an author may want to change."""
    for hints in (_as_text, _reach, _defaults):
        told = {finding.key for finding in file.findings}
        for code, key, sentence in hints(file.content, config):
            if key not in told:
                file.hint(code, key, sentence)


def _defaults(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    """Keys that may be left out. Where a key has no default, its absence means something."""
    for key in attrs.fields(AddonConfig):
        has_default = key.default is not attrs.NOTHING and key.default is not None
        if not has_default or key.name not in raw or getattr(config, key.name) != key.default:
            continue
        written = raw[key.name]
        if isinstance(written, Mapping | list):
            if written:
                continue  # what is in it counts for nothing, which is said of that
            value = "empty"
        else:
            value = shown(written)
        yield "default-value", key.name, f"is {value}, as it is where it is not there: it can be left out"


def _as_text(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    """Flags and numbers that are written in quotes, or otherwise than they are read."""
    for key in attrs.fields(AddonConfig):
        if key.metadata["reader"] is flag and not isinstance(raw.get(key.name, False), bool):
            meant = str(getattr(config, key.name)).lower()
            yield (
                "flag-as-text",
                key.name,
                f"is {shown(raw[key.name])}, and read as {meant}: write that, without quotes",
            )
    numbers = {name: raw.get(name) for name in _NUMBERS}
    for name in ("ports", "ulimits"):
        numbers |= _leaves(raw.get(name), name)
    for path, value in numbers.items():
        if isinstance(value, str):
            yield "number-as-text", path, f"is {shown(value)}, and read as the number: write it without quotes"


def _leaves(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {path: value}
    leaves: dict[str, Any] = {}
    for name, inner in value.items():
        leaves |= _leaves(inner, join(path, str(name)))
    return leaves


def _reach(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    if config.ingress and config.webui is not None:
        yield "webui-beside-ingress", "webui", "is hardly needed beside ingress, which opens the add-on with a login"
    if config.ingress and config.ingress_port == 0 and not config.host_network:
        yield (
            "ingress-port-0",
            "ingress_port",
            "asks for a free port, which is of use on the host's network only: without host_network no other add-on "
            "can be in the way, and the port can be named",
        )
    if config.full_access and not any(raw.get(key) for key in BESIDE_FULL_ACCESS):
        yield (
            "full-access",
            "full_access",
            "opens every device of the host: where some will do, name them (devices, uart, usb, gpio, video …)",
        )
    if config.watchdog is not None:
        yield (
            "watchdog-address",
            "watchdog",
            "is asked from outside: a HEALTHCHECK in the image's Dockerfile does the same, is known to the engine, and "
            "needs no port",
        )
