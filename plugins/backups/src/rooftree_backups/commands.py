# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree backup``: backups from a terminal. ``verify FILE`` needs no daemon; the others ask the one that runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from rooftree.commands import (
    NAME,
    Invocation,
    invocation_options,
    pass_invocation,
    print_json,
    print_table,
    size_text,
    tell,
)
from rooftree_backups.command_options import LOCATION_HELP, ask_for_password, of_addons, of_folders, password_of
from rooftree_backups.schedule_commands import schedule

LOOK_EVERY_S: Final = 0.3

type Report = Callable[[float, str], None]
"""Told the per cent that are done, and the stage."""


@click.group()
@invocation_options
def backup() -> None:
    """Make, look at, put back and thin out backups.

    A password is read from BACKUP_PASSWORD, or asked for with --ask-password: on the command line every user
    of the machine would see it.
    """


backup.add_command(schedule)


def _backup(slug: str) -> str:
    return f"/backups/{quote(slug, safe='')}"


# --- looking ----------------------------------------------------------------------------------------------------------


@backup.command("list")
@invocation_options
@pass_invocation
def list_backups(invocation: Invocation, /) -> None:
    """List the backups."""
    backups = invocation.ask("GET", "/backups")["backups"]
    known = invocation.ask("GET", "/kernel/v1/backups")["backups"]
    verified = {entry["slug"]: entry["verifications"].values() for entry in known}
    if invocation.as_json:
        print_json(backups)
        return
    print_table(
        ("SLUG", "DATE", "NAME", "SIZE", "HAS", "WHERE", "VERIFIED", "LACKS"),
        (
            (
                entry["slug"],
                entry["date"][:16].replace("T", " "),
                entry["name"],
                size_text(entry["size_bytes"]),
                _contents(entry),
                ", ".join(location or "here" for location in entry["locations"]),
                _verified(verified.get(entry["slug"], ())),
                ", ".join(part["slug"] for part in entry["failed"]),
            )
            for entry in backups
        ),
    )


def _verified(verifications: Iterable[dict[str, Any]]) -> str:
    """When it was last found whole; that it is damaged where it is so in any of its places."""
    times = [entry["at"] for entry in verifications if entry["whole"]]
    if len(times) < len(list(verifications)):
        return "damaged"
    return max(times)[:10] if times else ""


def _contents(entry: dict[str, Any]) -> str:
    content = entry["content"]
    words = ["Core"] if content["homeassistant"] else []
    if content["addons"]:
        words.append(f"{len(content['addons'])} add-on{'s' if len(content['addons']) > 1 else ''}")
    return ", ".join([*words, *content["folders"]]) + (" (protected)" if entry["protected"] else "")


@backup.command()
@click.argument("slug", type=NAME)
@invocation_options
@pass_invocation
def show(invocation: Invocation, /, slug: str) -> None:
    """Show one backup."""
    details = invocation.ask("GET", f"{_backup(slug)}/info")
    if invocation.as_json:
        print_json(details)
        return
    rows = [
        ("name", details["name"]),
        ("date", details["date"]),
        ("type", details["type"]),
        ("size", size_text(details["size_bytes"])),
        ("protected", "yes" if details["protected"] else "no"),
        ("where", ", ".join(location or "here" for location in details["locations"])),
        ("made by", f"version {details['supervisor_version']}"),
        ("Core", details["homeassistant"] or ""),
        *(("add-on", f"{addon['name']} {addon['version']} ({addon['slug']})") for addon in details["addons"]),
        *(("folder", folder) for folder in details["folders"]),
        *(("repository", source) for source in details["repositories"]),
        *(("lacks", f"{part['slug']}: {part['message']}") for part in details["failed"]),
    ]
    print_table(("", ""), rows)


@backup.command()
@click.argument("what", type=NAME, metavar="FILE|SLUG")
@click.option("--location", type=NAME, metavar="NAME", help="Where to read it, of several places.")
@ask_for_password
@invocation_options
@pass_invocation
def verify(invocation: Invocation, /, what: str, *, location: str | None, ask_password: bool) -> None:
    """Read a backup whole and hold it against what is known of it. A FILE needs no daemon.

    Exit codes: 0 all of it would be restored, 1 not all of it would, or it can't be read; 2 wrong usage.
    """
    from rooftree.errors import NotFound

    password, path = password_of(ask_password), Path(what)
    with _bar(invocation, "Verifying") as report:
        if path.is_file():  # ours: the file that a person names
            outcome = _verify_file(path, password, report)
        elif "/" in what or path.suffix == ".tar":
            raise NotFound(f"There is no file {what}")
        else:
            outcome = _verify_listed(invocation, what, {"password": password, "location": location}, report)
    if invocation.as_json:
        print_json(outcome)
    else:
        for finding in outcome["findings"]:
            tell(finding, err=True)
        sure = "" if outcome["authenticated"] else ", as far as can be told: it carries no digests"
        word = "whole" if outcome["whole"] else "damaged"
        tell(f"{what} is {word}{sure}.", word=word, colour="green" if outcome["whole"] else "red")
    if not outcome["whole"]:
        sys.exit(1)


def _verify_listed(invocation: Invocation, slug: str, body: dict[str, Any], report: Report) -> dict[str, Any]:
    from rooftree.errors import NotFound

    place = body["location"] or invocation.ask("GET", f"{_backup(slug)}/info")["location"] or ".local"
    begun = invocation.ask("POST", f"/kernel/v1{_backup(slug)}/verify", body | {"background": True}, patience_s=600)
    _follow(invocation, begun["job_id"], report)
    known = invocation.ask("GET", "/kernel/v1/backups")["backups"]
    outcome: dict[str, Any] | None = next(
        (entry["verifications"].get(place) for entry in known if entry["slug"] == slug), None
    )
    if outcome is None:
        raise NotFound(f"The backup {slug} is another, or gone, since it was read")
    return outcome


def _verify_file(path: Path, password: str | None, report: Report) -> dict[str, Any]:
    import asyncio

    from rooftree.model import Secret
    from rooftree_archives import verify_archive

    secret = Secret(password) if password else None
    outcome = asyncio.run(
        verify_archive(path, secret, lambda done, total: report(100 * done / total if total else 0, ""))
    )
    return {"whole": outcome.whole, "authenticated": outcome.authenticated, "findings": list(outcome.findings)}


# --- making and putting back ------------------------------------------------------------------------------------------


@backup.command()
@click.option("--name", default="", help="For people.")
@of_addons
@of_folders
@click.option("--core", is_flag=True, help="Home Assistant Core with its configuration.")
@click.option("--exclude-database", is_flag=True, help="Leave Core's database out.")
@click.option("--location", "locations", type=NAME, multiple=True, metavar="NAME", help=LOCATION_HELP)
@click.option("--uncompressed", is_flag=True, help="Larger, and done sooner.")
@ask_for_password
@invocation_options
@pass_invocation
def create(
    invocation: Invocation,
    /,
    name: str,
    *,
    addons: tuple[str, ...],
    folders: tuple[str, ...],
    core: bool,
    exclude_database: bool,
    locations: tuple[str, ...],
    uncompressed: bool,
    ask_password: bool,
) -> None:
    """Make a backup: of everything, or of what is named."""
    body: dict[str, Any] = {"name": name, "compressed": not uncompressed, "background": True}
    if password := password_of(ask_password, confirm=True):
        body["password"] = password
    if locations:
        body["location"] = list(locations)
    if exclude_database:
        body["homeassistant_exclude_database"] = True
    kind = "full"
    if addons or folders or core:
        kind = "partial"
        body |= {"addons": list(addons), "folders": list(folders), "homeassistant": core}
    job = _await(invocation, invocation.ask("POST", f"/backups/new/{kind}", body)["job_id"], "Backing up")
    details = invocation.ask("GET", f"{_backup(job['reference'])}/info")
    if invocation.as_json:
        print_json(details)
        return
    tell(f"Made the backup {details['slug']} ({size_text(details['size_bytes'])}).")
    for part in details["failed"]:
        tell(f"Without {part['slug']}: {part['message']}", err=True)


@backup.command()
@click.argument("slug", type=NAME)
@of_addons
@of_folders
@click.option("--core", is_flag=True, help="Home Assistant Core with its configuration.")
@click.option("--location", type=NAME, metavar="NAME", help="Where to read it from.")
@click.option(
    "--settings/--no-settings",
    default=None,
    help="Mounts and logins at registries too. They come with everything, and with Core, unless told otherwise.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be done, and do nothing of it.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@ask_for_password
@invocation_options
@pass_invocation
def restore(
    invocation: Invocation,
    /,
    slug: str,
    *,
    addons: tuple[str, ...],
    folders: tuple[str, ...],
    core: bool,
    location: str | None,
    settings: bool | None,
    only_plan: bool,
    yes: bool,
    ask_password: bool,
) -> None:
    """Put a backup back: all of it, or what is named."""
    body: dict[str, Any] = {"background": True}
    if password := password_of(ask_password):
        body["password"] = password
    if location:
        body["location"] = location
    kind = "partial"
    if addons or folders or core:
        body |= {"addons": list(addons), "folders": list(folders), "homeassistant": core}
    elif (details := invocation.ask("GET", f"{_backup(slug)}/info"))["type"] == "partial":
        body |= {
            "addons": [addon["slug"] for addon in details["addons"]],
            "folders": details["folders"],
            "homeassistant": bool(details["homeassistant"]),
        }
    else:
        kind = "full"
    if settings is None:
        settings = kind == "full" or bool(body["homeassistant"])
    body["settings"] = settings
    path = f"{_backup(slug)}/restore/{kind}"
    if only_plan:
        plan = invocation.ask("POST", f"{path}?plan=1", body, patience_s=600)
        if invocation.as_json:
            print_json(plan)
            return
        for step in plan["steps"]:
            tell(f"{step['what']} {step.get('job_reference') or ''}".rstrip())
            for note in step.get("notes", ()):
                tell(f"    {note}")
        return
    if not yes:
        besides = ", and the mounts and logins at registries that are in it" if settings else ""
        click.confirm(f"Put the backup {slug} back, in place of what is there now{besides}?", abort=True, err=True)
    job = _await(invocation, invocation.ask("POST", path, body, patience_s=600)["job_id"], "Restoring")
    if invocation.as_json:
        print_json(job)
        return
    tell(f"The backup {slug} is back.")


@backup.command()
@click.argument("slugs", type=NAME, nargs=-1, required=True, metavar="SLUG...")
@click.option("--location", "locations", type=NAME, multiple=True, metavar="NAME", help="Only there.")
@invocation_options
@pass_invocation
def delete(invocation: Invocation, /, slugs: tuple[str, ...], *, locations: tuple[str, ...]) -> None:
    """Delete backups, everywhere or in the places named."""
    from rooftree import NotFound

    for slug in slugs:
        if locations:  # the API leaves places out that don't hold it; here nothing may be called deleted that is not
            held = invocation.ask("GET", f"{_backup(slug)}/info")["location_attributes"]
            if absent := [place for place in locations if place not in held]:
                there = ", ".join(sorted(held))
                raise NotFound(f"The backup {slug} is not in {', '.join(absent)}; it is in {there}")
        invocation.ask("DELETE", _backup(slug), {"location": list(locations)} if locations else {})
        tell(f"Deleted {slug}.", err=True)
    if invocation.as_json:
        print_json({"slugs": slugs})


# --- waiting ----------------------------------------------------------------------------------------------------------


def _await(invocation: Invocation, job_id: str, what: str) -> dict[str, Any]:
    """Show how far a job is until it has ended; raises ``Failed`` where that is not well."""
    with _bar(invocation, what) as report:
        return _follow(invocation, job_id, report)


def _follow(invocation: Invocation, job_id: str, report: Report) -> dict[str, Any]:
    from rooftree.errors import Failed

    while True:
        job: dict[str, Any] = invocation.ask("GET", f"/jobs/{job_id}")
        report(job["progress"], job["stage"] or "")
        if job["done"]:
            break
        time.sleep(LOOK_EVERY_S)
    if job["errors"]:
        raise Failed("; ".join(error["message"] for error in job["errors"]))
    return job


@contextmanager
def _bar(invocation: Invocation, what: str) -> Iterator[Report]:
    """A bar on a terminal, and nothing elsewhere."""
    if invocation.as_json or not sys.stderr.isatty():
        yield lambda percent, stage: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    stages = TextColumn("{task.fields[stage]}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), stages)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=100, stage="")
        yield lambda percent, stage: progress.update(task, completed=percent, stage=stage)
