# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree addon``: what authors of add-ons need at their desk. No daemon is asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rooftree.commands import Invocation, pass_invocation, print_json, tell

if TYPE_CHECKING:
    from rooftree_store.lint import FileFinding, Report

_COLOURS: Final = {"error": "red", "warning": "yellow", "hint": "cyan"}


@click.group()
def addon() -> None:
    """Work on add-ons and their repositories."""


@addon.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH...")
@click.option("--strict", is_flag=True, help="Fail for warnings too.")
@click.option("--quiet", "-q", is_flag=True, help="Leave hints out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the findings, and what each configuration says.")
@pass_invocation
def validate(invocation: Invocation, /, paths: tuple[Path, ...], *, strict: bool, quiet: bool, as_json: bool) -> None:
    """Check an add-on's folder, a whole repository, or single files.

    Errors are what keeps an add-on from being offered. Warnings are what is out of date, has no effect, or does
    something else than it seems to. Hints say what could be better.

    Exit codes: 0 no errors, 1 errors (with --strict, warnings too), 2 wrong usage.
    """
    from rooftree_store.lint import Severity, check

    report = check(paths)
    shown = [finding for finding in report.findings if not (quiet and finding.severity is Severity.HINT)]
    if as_json or invocation.as_json:
        print_json(_as_json(report, shown))
    else:
        for finding in shown:
            # As compilers write it, so that editors and CI find the place; coloured where a person reads it.
            tell(str(finding), word=f" {finding.severity}: ", colour=_COLOURS[finding.severity])
        tell(_summary(report), err=True)
    if report.count(Severity.ERROR) or (strict and report.count(Severity.WARNING)):
        sys.exit(1)


def _summary(report: Report) -> str:
    from rooftree_store.lint import Severity

    counts = [(report.count(severity), severity) for severity in Severity]
    told = ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for count, severity in counts if count)
    files, addons = report.files, len(report.addons)
    checked = f"{files} file{'' if files == 1 else 's'} of {addons} add-on{'' if addons == 1 else 's'}"
    return f"Checked {checked}: {told or 'nothing to complain about'}."


def _as_json(report: Report, shown: list[FileFinding]) -> dict[str, object]:
    import attrs

    from rooftree_store.lint import Severity

    return {
        "valid": not report.count(Severity.ERROR),
        "findings": [attrs.asdict(finding) for finding in shown],
        "addons": [addon.as_json() for addon in report.addons],
        "files": report.files,
    }
