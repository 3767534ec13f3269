"""A linter for authors of add-ons: what would be refused, what is out of date, and what could be better.

Give it an add-on's folder, a whole repository, or a single file. It reads with the same readers as the daemon, so that
what it accepts is accepted, and it needs no daemon, no network and no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from rooftree_files import TreeTooLarge
from rooftree_store.addon_config import AddonConfig, ParsedAddon
from rooftree_store.catalogue import APPARMOR, CONFIG_NAMES, REPOSITORY_NAMES, open_repository, repository_folders
from rooftree_store.lint.addon_folder import (
    BUILD_NAMES,
    check_addon_folder,
    check_build_file,
    check_profile,
    check_translation,
)
from rooftree_store.lint.config_file import check_config
from rooftree_store.lint.findings import CheckedFile, FileFinding, Severity, is_there
from rooftree_store.recognition import NOT_MEANT
from rooftree_store.repository_file import RepositoryInvalid, parse_repository_file
from rooftree_store.yaml_files import SUFFIXES

__all__ = ["CheckedAddon", "FileFinding", "Report", "Severity", "check"]


@frozen
class CheckedAddon:
    """An add-on's configuration: whether it is accepted, and what it says then."""

    file: str
    parsed: ParsedAddon | None

    def as_json(self) -> dict[str, Any]:
        parsed = self.parsed
        return {
            "file": self.file,
            "valid": parsed is not None,
            "slug": parsed.config.slug if parsed else None,
            "advisories": list(parsed.advisories) if parsed else [],
            "config": parsed.config.normalised() if parsed else None,
        }


@define
class Report:
    """What was found in everything that was checked."""

    findings: list[FileFinding] = field(factory=list)
    addons: list[CheckedAddon] = field(factory=list)
    files: int = 0
    """How many were looked into."""

    def count(self, severity: Severity) -> int:
        """How many findings are as bad as that."""
        return sum(finding.severity is severity for finding in self.findings)

    def add(self, *files: CheckedFile) -> None:
        """Take over what was found in files, in the order of their lines."""
        for file in files:
            self.findings += sorted(file.findings, key=lambda finding: (finding.line or 0, finding.column or 0))
        self.files += len(files)


def check(paths: Iterable[Path]) -> Report:
    """Check files, add-ons' folders and repositories, all of which must exist."""
    report = Report()
    for path in paths:
        if path.is_dir():
            _check_folder(report, path)
        else:
            _check_file(report, path)
    return report


def _check_folder(report: Report, folder: Path) -> None:
    descriptions = [folder / name for name in REPOSITORY_NAMES if is_there(folder / name, folder)]
    configs = _config_files(report, folder, named=None if descriptions else folder)
    is_addon = any(path.parent == folder for path in configs)
    if descriptions:
        first = check_repository_file(descriptions[0], folder)
        for other in descriptions[1:]:
            first.note_at(None, Severity.WARNING, "without-effect", f"is read, and {other.name} beside it is not")
        if not configs:
            first.note_at(None, Severity.WARNING, "no-addons", "there is no add-on in this repository")
        report.add(first)
    elif not is_addon:
        file = CheckedFile.of(folder)
        wanted = " or ".join(REPOSITORY_NAMES)
        if configs:
            lacking = f"has no {wanted}: as a local folder it can be used, as a repository it cannot be added"
            file.note_at(None, Severity.WARNING, "no-repository", lacking)
        else:
            lacking = f"is no add-on, which has {' or '.join(CONFIG_NAMES)}, and no repository, which has {wanted}"
            file.note_at(None, Severity.ERROR, "nothing-here", lacking)
        report.add(file)
    taken: dict[str, Path] = {}
    for path, file in configs.items():
        _check_addon(report, path, file, folder, taken)


def _config_files(report: Report, folder: Path, named: Path | None) -> dict[Path, CheckedFile]:
    """The configurations in a folder; what keeps the daemon from seeing all is noted, and what is meant as none.

    :param named: the folder that was given as an add-on's: what is there is meant
    """
    around = CheckedFile.of(folder)
    paths: list[Path] = []

    def left_out(path: str, reason: str) -> None:
        around.note_at(None, Severity.ERROR, "left-out", f"{path} {reason}")

    with open_repository(folder) as opened:
        try:
            for listing in repository_folders(opened, left_out):
                paths += [folder / listing.path / name for name in CONFIG_NAMES if name in listing.others]
        except TreeTooLarge as error:
            around.note_at(None, Severity.ERROR, "left-out", f"{error.reason}; the rest is left out")
    if around.findings:
        report.add(around)
    configs = {path: CheckedFile.read(path, folder) for path in paths}
    for path in [path for path, file in configs.items() if not (file.may_be_addon or path.parent == named)]:
        stranger = CheckedFile(configs.pop(path).name)
        stranger.note_at(None, Severity.HINT, "no-addon", NOT_MEANT)
        report.add(stranger)
    return configs


def _check_addon(report: Report, path: Path, file: CheckedFile, root: Path, taken: dict[str, Path]) -> None:
    parsed = check_config(file) if file.readable else None
    config = parsed.config if parsed else None
    if config is not None:
        first = taken.setdefault(config.slug, path)
        if first is not path:
            file.error(
                "slug-taken", "slug", f"{config.slug} is the slug of {first} already; only one of them can be offered"
            )
    around = check_addon_folder(file, path.parent, root, config)
    report.add(file, *around)
    report.addons.append(CheckedAddon(file.name, parsed))


def check_repository_file(path: Path, root: Path) -> CheckedFile:
    """Check what a repository says of itself."""
    file = CheckedFile.read(path, root)
    if not file.readable:
        return file
    file.unknown_keys("", file.content, ("name", "url", "maintainer"))
    try:
        parse_repository_file(file.content)
    except RepositoryInvalid as error:
        file.refused(error)
    for key, what in (("url", "where it is at home"), ("maintainer", "who looks after it")):
        if key not in file.content:
            file.hint("nothing-to-show", key, f"is not there; the store would show {what}")
    return file


def _check_file(report: Report, path: Path) -> None:
    """A file alone: nothing is said of what lies, or is missing, beside it."""
    known: dict[str, Callable[[Path, Path], CheckedFile]] = {
        **dict.fromkeys(REPOSITORY_NAMES, check_repository_file),
        **dict.fromkeys(BUILD_NAMES, check_build_file),
    }
    if path.name == APPARMOR:
        report.add(check_profile(path, path.parent))
    elif path.name in known:
        report.add(known[path.name](path, path.parent))
    elif path.parent.resolve().name == "translations" and path.suffix in SUFFIXES:
        report.add(check_translation(path, path.parent, _neighbour(path.parent.parent)))
    elif path.suffix in SUFFIXES:
        file = CheckedFile.read(path, path.parent)
        parsed = check_config(file) if file.readable else None
        report.add(file)
        report.addons.append(CheckedAddon(file.name, parsed))
    else:
        file = CheckedFile.of(path)
        file.note_at(
            None, Severity.ERROR, "nothing-here", f"is no file that can be checked alone; those are {_CHECKED}"
        )
        report.add(file)


_CHECKED: Final = f"{', '.join((*CONFIG_NAMES, *BUILD_NAMES, *REPOSITORY_NAMES, APPARMOR))}, translations/*"


def _neighbour(folder: Path) -> AddonConfig | None:
    """The configuration that a translation belongs to, where there is one."""
    for name in CONFIG_NAMES:
        if is_there(folder / name, folder):
            file = CheckedFile.read(folder / name, folder)
            parsed = check_config(file) if file.readable else None
            return parsed.config if parsed else None
    return None
