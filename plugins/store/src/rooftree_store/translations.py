"""``translations/<language>.yaml``: names and descriptions of an add-on's options and ports in one language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NotRequired, TypedDict

from attrs import field, frozen

from rooftree_store.readers import MAX_DEPTH, Finding, Findings, maybe, shown, text
from rooftree_store.yaml_files import SUFFIXES

TRANSLATIONS: Final = "translations"
"""The folder that they lie in, beside the configuration."""
MAX_LANGUAGES: Final = 100
"""Of one add-on; more are left out, and reported."""
_ALWAYS: Final = "en"
"""The language that clients show where there is no better one."""


def language_files(names: Iterable[str]) -> list[str]:
    """The names of translations among those of a folder, in order, English before all others."""
    named = (name for name in names if name.endswith(SUFFIXES) and name.isprintable() and name[0] != ".")
    return sorted(named, key=lambda name: (name.rpartition(".")[0] != _ALWAYS, name))


class OptionTexts(TypedDict):
    """How one option is called, as clients know it."""

    name: str
    description: NotRequired[str]
    fields: NotRequired[dict[str, OptionTexts]]
    """Its inner options."""


class TranslationTexts(TypedDict):
    """One language's texts, as clients know them."""

    configuration: dict[str, OptionTexts]
    """By option."""
    network: dict[str, str]
    """By port, such as `8080/tcp`."""


@frozen
class OptionText:
    """How one option is called, and its inner options."""

    name: str
    description: str | None = None
    fields: Mapping[str, OptionText] | None = None

    def as_json(self) -> OptionTexts:
        """As the file has it, without the keys it does not have."""
        result: OptionTexts = {"name": self.name}
        if self.description is not None:
            result["description"] = self.description
        if self.fields is not None:
            result["fields"] = {key: inner.as_json() for key, inner in self.fields.items()}
        return result


@frozen
class Translation:
    """One language's texts."""

    configuration: Mapping[str, OptionText] = field(factory=dict)
    """By option."""
    network: Mapping[str, str] = field(factory=dict)
    """By port, such as ``8080/tcp``."""
    findings: tuple[Finding, ...] = ()
    """What could not be used, and was left out."""

    def as_json(self) -> TranslationTexts:
        """The shape that clients of the API know."""
        return {
            "configuration": {key: option.as_json() for key, option in self.configuration.items()},
            "network": dict(self.network),
        }


def parse_translation(raw: Mapping[Any, Any]) -> Translation:
    """What of a file can be used, with what is wrong with the rest of it; unknown keys are ignored."""
    findings = Findings()

    def option(path: str, value: Any, depth: int = 0) -> OptionText | None:
        if depth > MAX_DEPTH:
            findings.add(path, f"nests deeper than {MAX_DEPTH} levels")
            return None
        if not isinstance(value, Mapping):
            findings.add(path, f"must be a mapping with a name, not {shown(value)}")
            return None
        name = findings.read(f"{path}.name", text, value.get("name")) if "name" in value else None
        if "name" not in value:
            findings.add(f"{path}.name", "is required")
        description = findings.read(f"{path}.description", maybe(text), value.get("description"))
        fields = None
        if "fields" in value:
            fields = findings.entries(f"{path}.fields", value["fields"], partial(option, depth=depth + 1))
        return None if name is None else OptionText(name, description, fields)

    configuration = findings.entries("configuration", raw["configuration"], option) if "configuration" in raw else {}
    ports = findings.entries("network", raw["network"], _port_text(findings)) if "network" in raw else {}
    return Translation(configuration, ports, tuple(findings.noted))


def _port_text(findings: Findings) -> Callable[[str, Any], str | None]:
    return lambda path, value: findings.read(path, text, value)
