"""``translations/<language>.yaml``: names and descriptions of an add-on's options and ports in one language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NotRequired, TypedDict

from attrs import field, frozen

from rooftree_store.readers import MAX_DEPTH, ContentInvalid, Problems, Reader, mapping_of, maybe, refused, shown, text
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


class TranslationInvalid(ContentInvalid):
    """A translation was read and is not what it should be; the add-on does without it."""


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

    def as_json(self) -> TranslationTexts:
        """The shape that clients of the API know."""
        return {
            "configuration": {key: option.as_json() for key, option in self.configuration.items()},
            "network": dict(self.network),
        }


def _option_text(depth: int) -> Reader[OptionText]:
    """The reader of an option at ``depth``; made level by level, because options may nest without end."""

    def read(value: Any) -> OptionText:
        if depth > MAX_DEPTH:
            raise refused(f"nests deeper than {MAX_DEPTH} levels")
        if not isinstance(value, Mapping):
            raise refused(f"must be a mapping with a name, not {shown(value)}")
        problems = Problems()
        name = problems.required(value, "name", text)
        description = problems.optional(value, "description", maybe(text))
        fields = problems.optional(value, "fields", mapping_of(_option_text(depth + 1)))
        problems.raise_if_any()
        return OptionText(str(name), description, fields)

    return read


_READERS: Final[Mapping[str, Reader[Any]]] = {"configuration": mapping_of(_option_text(0)), "network": mapping_of(text)}


def parse_translation(raw: Mapping[Any, Any]) -> Translation:
    """The typed file; unknown keys are ignored. Raises :class:`TranslationInvalid` with every problem."""
    problems = Problems()
    values: dict[str, Any] = {
        name: problems.read(name, reader, raw[name]) for name, reader in _READERS.items() if name in raw
    }
    if problems.noted:
        raise TranslationInvalid(problems.noted)
    return Translation(**values)
