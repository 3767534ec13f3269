"""Checking what lies beside an add-on's ``config.yaml``: build file, translations, AppArmor profile, pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rooftree.errors import Invalid
from rooftree_files import Folder, PathRefused
from rooftree_files.dockerfile import read_dockerfile
from rooftree_store.addon_config import AddonConfig
from rooftree_store.build_file import DEFAULT_BASE_IMAGE, BuildFile, parse_build_file
from rooftree_store.catalogue import APPARMOR, CHANGELOG, DOCUMENTATION, ICON, LOGO, README, open_repository
from rooftree_store.lint.findings import BEGINNING, CheckedFile, Severity, is_there
from rooftree_store.local_build import build_arguments, dockerfile_of, missing_bases
from rooftree_store.options_schema import Element, ListOf, MapOf
from rooftree_store.readers import join
from rooftree_store.translations import (
    MAX_LANGUAGES,
    TRANSLATIONS,
    OptionText,
    language_files,
    parse_translation,
)
from rooftree_store.vocabulary import DEPRECATED_ARCHITECTURES, SUPPORTED_ARCHITECTURES
from rooftree_store.yaml_files import SUFFIXES, FileInvalid, Place, content_in

BUILD_NAMES: Final = tuple(f"build{suffix}" for suffix in SUFFIXES)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PROFILE: Final = re.compile(rb"profile[ \t]+\S+")
_SHOWN: Final = (ICON, LOGO, README, DOCUMENTATION, CHANGELOG)


def check_addon_folder(
    config_file: CheckedFile, folder: Path, root: Path, config: AddonConfig | None
) -> list[CheckedFile]:
    """Check the files of an add-on beside its configuration, and note there what is missing."""
    files = [check_build_file(folder / name, root, config) for name in BUILD_NAMES if is_there(folder / name, root)]
    translations = translation_files(config_file, folder, root)
    files += [check_translation(path, root, config) for path in translations]
    if is_there(folder / APPARMOR, root):
        files.append(check_profile(folder / APPARMOR, root, config))
    files += [picture for name in (ICON, LOGO) if (picture := _check_picture(folder / name, root))]
    if config is not None:
        files += _check_build(config_file, folder, root, config)
        if config.schema is not None and config.schema.root.fields and not translations:
            config_file.hint(
                "no-translations", "schema", "has options without names: translations/en.yaml gives them some"
            )
    missing = [name for name in _SHOWN if not is_there(folder / name, root)]
    if missing:
        sentence = f"has none of these, which the store would show: {', '.join(missing)}"
        config_file.note_at(None, Severity.HINT, "nothing-to-show", sentence)
    return files


def _check_build(config_file: CheckedFile, folder: Path, root: Path, config: AddonConfig) -> Iterator[CheckedFile]:
    """The Dockerfiles in which something is wrong; that there is none for an architecture is noted beside."""
    if config.image is not None:
        return
    missing: list[str] = []
    wrong: dict[str, CheckedFile] = {}
    build = _build_file(folder, root)
    with open_repository(root) as opened, _below(opened, folder, root) as context:
        for arch in config.arch:
            name = dockerfile_of(context, arch)
            if name is None:
                missing.append(arch)
                continue
            file = wrong.setdefault(name, CheckedFile.of(folder / name))
            try:
                text = (read_dockerfile(context, name) or b"").decode(errors="replace")
                arguments = build_arguments(build, config.version, arch)
            except PathRefused as error:
                _note_once(file, None, "unusable-dockerfile", f"{error.reason}, and cannot be built from")
            except Invalid:
                pass  # said of the build file
            else:
                for base in missing_bases(text, arguments):
                    _note_once(file, Place(base.line, 1), "no-base-image", f"FROM {base.reason}")
    if missing:
        architectures = f" for {', '.join(missing)}" if len(missing) < len(config.arch) else ""
        sentence = f"there is no image to fetch, and no Dockerfile to build one from{architectures}"
        config_file.note_at(None, Severity.ERROR, "no-dockerfile", sentence)
    yield from (file for file in wrong.values() if file.findings)


def _build_file(folder: Path, root: Path) -> BuildFile | None:
    name = next((name for name in BUILD_NAMES if is_there(folder / name, root)), None)
    if name is None:
        return None
    file = CheckedFile.read(folder / name, root)
    return parse_build_file(file.content, file.places.written)


def _below(opened: Folder, folder: Path, root: Path) -> Folder:
    return opened if folder == root else opened.folder(str(folder.relative_to(root)))


def _note_once(file: CheckedFile, place: Place | None, code: str, sentence: str) -> None:
    if sentence not in {finding.message for finding in file.findings}:  # of another architecture
        file.note_at(place, Severity.ERROR, code, sentence)


def check_build_file(path: Path, root: Path, config: AddonConfig | None = None) -> CheckedFile:
    file = CheckedFile.read(path, root)
    if not file.readable:
        return file
    file.unknown_keys("", file.content, ("build_from", "args", "labels", "squash"))
    if "squash" in file.content:
        file.warning("without-effect", "squash", "has no effect any more; take it out")
    build = parse_build_file(file.content, file.places.written)
    file.left_out(build.findings)
    if config is not None and config.image is None and isinstance(build.build_from, Mapping):
        for arch in config.arch:
            if arch not in build.build_from:
                file.warning(
                    "no-base-image", "build_from", f"has no image for {arch}, which the add-on says it supports"
                )
    for arch in build.build_from if isinstance(build.build_from, Mapping) else ():
        if arch in DEPRECATED_ARCHITECTURES:
            supported = " and ".join(SUPPORTED_ARCHITECTURES)
            file.hint(
                "deprecated-arch", f"build_from.{arch}", f"is for a deprecated architecture; supported are {supported}"
            )
    sentence = "build files are deprecated; the Dockerfile can say all of it"
    if "build_from" not in file.content:
        sentence += f". This one names no build_from, which makes BUILD_FROM {DEFAULT_BASE_IMAGE}"
    file.note_at(None, Severity.HINT, "deprecated-build-file", sentence)
    return file


# --- translations -----------------------------------------------------------------------------------------------------


def translation_files(config_file: CheckedFile, folder: Path, root: Path) -> list[Path]:
    """The translations of an add-on, as many as are looked at; that there are more is noted."""
    place = folder / TRANSLATIONS
    try:
        with open_repository(root) as opened, opened.folder(str(place.relative_to(root)), links=True) as there:
            names = language_files(there.names())
    except (PathRefused, OSError):
        return []
    if len(names) > MAX_LANGUAGES:
        sentence = f"has more than {MAX_LANGUAGES} translations; the rest is left out"
        config_file.note_at(None, Severity.WARNING, "left-out", sentence)
    return sorted(place / name for name in names[:MAX_LANGUAGES])


def check_translation(path: Path, root: Path, config: AddonConfig | None = None) -> CheckedFile:
    """Check a translation, against the options and ports that there are."""
    file = CheckedFile.read(path, root)
    if not file.readable:
        return file
    file.unknown_keys("", file.content, ("configuration", "network"))
    _check_text_keys(file, file.content.get("configuration"), "configuration")
    translation = parse_translation(file.content)
    file.left_out(translation.findings)
    if config is None:
        return file
    if config.schema is not None:
        untold = list(_compare(file, config.schema.root, translation.configuration, "configuration"))
        if untold:
            file.hint("untranslated", "configuration", f"has no text for {', '.join(untold)}")
    for port in translation.network:
        if port not in (config.ports or {}):
            file.hint("unknown-port", f"network.{port}", "is a port that the add-on does not have")
    return file


def _check_text_keys(file: CheckedFile, texts: object, path: str) -> None:
    for name, text in texts.items() if isinstance(texts, Mapping) else ():
        file.unknown_keys(join(path, str(name)), text, ("name", "description", "fields"))
        if isinstance(text, Mapping):
            _check_text_keys(file, text.get("fields"), f"{join(path, str(name))}.fields")


def _compare(
    file: CheckedFile, element: MapOf, texts: Mapping[str, OptionText], path: str, within: str = ""
) -> Iterator[str]:
    """The options that have no text; texts that have no option are noted."""
    for name in texts:
        if name not in element.fields:
            file.hint("unknown-option", join(path, name), "is an option that the schema does not have")
    for name, inner in element.fields.items():
        if name not in texts:
            yield join(within, name)
            continue
        nested = _form(inner)
        fields = texts[name].fields
        if nested is not None and fields is not None:
            yield from _compare(file, nested, fields, f"{join(path, name)}.fields", join(within, name))


def _form(element: Element) -> MapOf | None:
    """The form within the form that an option is, alone or in a list."""
    inner = element.element if isinstance(element, ListOf) else element
    return inner if isinstance(inner, MapOf) else None


# --- what is no YAML --------------------------------------------------------------------------------------------------


def check_profile(path: Path, root: Path, config: AddonConfig | None = None) -> CheckedFile:
    """Check an AppArmor profile: it has to be one, so that it can be given the add-on's own name."""
    file = CheckedFile.of(path)
    try:
        with open_repository(root) as folder:
            text = content_in(folder, str(path.relative_to(root))).data
    except FileInvalid as error:
        file.note_at(None, Severity.ERROR, "unreadable", error.reason)
        return file
    lines = [number for number, line in enumerate(text.split(b"\n"), 1) if _PROFILE.match(line)]
    if len(lines) != 1:
        place = Place(lines[1], 1) if lines else BEGINNING
        told = f"it has {len(lines)}" if lines else "it has none"
        file.note_at(
            place,
            Severity.ERROR,
            "invalid-profile",
            f"must have exactly one line that begins with profile <name>; {told}",
        )
    if config is not None and not config.apparmor:
        file.note_at(
            None, Severity.WARNING, "without-effect", "is never loaded: the configuration says apparmor: false"
        )
    return file


def _check_picture(path: Path, root: Path) -> CheckedFile | None:
    try:
        with open_repository(root) as folder:
            beginning = folder.read_beginning(str(path.relative_to(root)), len(_PNG), links=True)
    except PathRefused as error:
        beginning, reason = b"", error.reason
    except OSError:
        return None
    else:
        reason = "is no PNG picture, whatever its name says"
    if beginning == _PNG:
        return None
    file = CheckedFile.of(path)
    file.note_at(None, Severity.WARNING, "no-png", reason)
    return file
