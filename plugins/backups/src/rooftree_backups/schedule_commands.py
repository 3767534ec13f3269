"""``rooftree backup schedule``: backups by themselves, set from a terminal."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from rooftree.commands import NAME, Invocation, invocation_options, pass_invocation, print_json, print_table, tell
from rooftree_backups.command_options import LOCATION_HELP, ask_for_password, of_addons, of_folders, password_of


@click.group()
@invocation_options
def schedule() -> None:
    """Backups by themselves."""


@schedule.command("list")
@invocation_options
@pass_invocation
def list_schedules(invocation: Invocation, /) -> None:
    """List the schedules."""
    schedules = invocation.ask("GET", "/kernel/v1/backups/schedules")["schedules"]
    if invocation.as_json:
        print_json(schedules)
        return
    print_table(
        ("NAME", "CRON", "NEXT", "LAST", "KEEPS"),
        (
            (
                entry["name"],
                entry["cron"],
                "off" if not entry["enabled"] else (entry["next_run"] or "now")[:16].replace("T", " "),
                entry["last_error"] or (entry["last_run"] or "")[:16].replace("T", " "),
                "; ".join(f"{place}: {_kept(rules)}" for place, rules in entry["keep"].items()),
            )
            for entry in schedules
        ),
    )


def _kept(rules: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in rules.items() if count) or "all"


@schedule.command("set")
@click.argument("name", type=NAME)
@click.argument("cron", type=NAME)
@click.option("--jitter-minutes", default=0, type=click.IntRange(0, 720), help="Up to so much later.")
@of_addons
@of_folders
@click.option("--core", is_flag=True, help="Home Assistant Core with its configuration.")
@click.option("--location", "locations", type=NAME, multiple=True, metavar="NAME", help=LOCATION_HELP)
@click.option("--keep-last", default=0, type=click.IntRange(0, 10_000), help="So many of the newest.")
@click.option("--keep-daily", default=0, type=click.IntRange(0, 10_000), help="The newest of so many days.")
@click.option("--keep-weekly", default=0, type=click.IntRange(0, 10_000), help="Of so many weeks.")
@click.option("--keep-monthly", default=0, type=click.IntRange(0, 10_000), help="Of so many months.")
@click.option("--off", is_flag=True, help="Keep it, and don't let it run.")
@ask_for_password
@invocation_options
@pass_invocation
def set_schedule(
    invocation: Invocation,
    /,
    name: str,
    cron: str,
    *,
    jitter_minutes: int,
    addons: tuple[str, ...],
    folders: tuple[str, ...],
    core: bool,
    locations: tuple[str, ...],
    keep_last: int,
    keep_daily: int,
    keep_weekly: int,
    keep_monthly: int,
    off: bool,
    ask_password: bool,
) -> None:
    """Make backups at times of day, such as: set nightly '30 3 * * *' --keep-daily 7 --keep-weekly 4.

    Of everything, or of what is named. All backups stay unless it is said how many do.
    """
    rules = {"last": keep_last, "daily": keep_daily, "weekly": keep_weekly, "monthly": keep_monthly}
    body: dict[str, Any] = {
        "cron": cron,
        "jitter_minutes": jitter_minutes,
        "enabled": not off,
        "type": "partial" if addons or folders or core else "full",
        "addons": list(addons),
        "folders": list(folders),
        "homeassistant": core,
        "locations": list(locations) or None,
        "keep": {"*": rules} if any(rules.values()) else {},
    }
    if password := password_of(ask_password, confirm=True):
        body["password"] = password
    invocation.ask("POST", _schedule(name), body)
    _tell_of_schedule(invocation, name, f"The schedule {name} is kept.")


@schedule.command("delete")
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def delete_schedule(invocation: Invocation, /, name: str) -> None:
    """Forget a schedule; its backups stay."""
    invocation.ask("DELETE", _schedule(name))
    _tell_of_schedule(invocation, name, f"The schedule {name} is forgotten; its backups stay.")


def _tell_of_schedule(invocation: Invocation, name: str, sentence: str) -> None:
    if invocation.as_json:
        print_json({"name": name})
    else:
        tell(sentence, err=True)


def _schedule(name: str) -> str:
    return f"/kernel/v1/backups/schedules/{quote(name, safe='')}"
