# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree mount``: network storage and disks at the shell. What is mounted is named as for mount(8); a password is
asked for, or read from a file, and never stands on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, Final
from urllib.parse import quote

import click

from rooftree.commands import (
    NAME,
    Invocation,
    ask_secret,
    invocation_options,
    pass_invocation,
    print_json,
    print_table,
    tell,
)

TAKES_S: Final = 300.0
"""Seconds that mounting may take, with all that is tried."""
HERE: Final = ".local"
"""The word for the data folder, among names of mounts."""
GB: Final = 1e9
USAGES: Final = ("media", "share", "backup")
SOURCE: Final = "//SERVER/SHARE|SERVER:/PATH|DEVICE"


@click.group()
@invocation_options
def mount() -> None:
    """Mount network storage and disks for add-ons, Home Assistant and backups."""


def _with_options[F: Callable[..., Any]](command: F) -> F:
    """What a mount is made of, besides its source."""
    options = (
        click.option("--port", type=click.IntRange(1, 65535), help="Of the server, where it is not the usual one."),
        click.option("--smb-version", type=click.Choice(["1.0", "2.0"]), help="Of CIFS; else the highest both know."),
        click.option("--username", type=NAME, metavar="NAME", help="Log in at a CIFS server; asks for the password."),
        click.option(
            "--password-file", type=click.File("r"), metavar="FILE",
            help="Read the password from the first line of a file, - for standard input.",
        ),
        click.option("--plan", is_flag=True, help="Only show what would be done."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


# --- looking ----------------------------------------------------------------------------------------------------------


@mount.command("list")
@invocation_options
@pass_invocation
def list_mounts(invocation: Invocation, /) -> None:
    """List the mounts: how each is, the room on it, and who uses it. * marks where backups go."""
    overview = invocation.ask("GET", "/kernel/v1/mounts")
    if invocation.as_json:
        print_json(overview)
        return
    default = overview["default_backup_mount"]
    print_table(
        ("NAME", "WHAT", "USAGE", "STATE", "USED", "SIZE", "USED BY"),
        (
            (
                entry["name"] + (" *" if entry["name"] == default else ""),
                _source_of(entry),
                entry["usage"] + (" (read-only)" if entry["read_only"] else ""),
                entry["state"],
                _size(entry["used_bytes"]),
                _size(entry["total_bytes"]),
                "; ".join(entry["used_by"]),
            )
            for entry in overview["mounts"]
        ),
        {"active": "green", "failed": "red"},
    )
    for entry in overview["mounts"]:
        if entry["why_failed"]:
            tell(entry["why_failed"], err=True)


def _source_of(entry: dict[str, Any]) -> str:
    match entry["type"]:
        case "cifs":
            return f"//{entry['server']}/{entry['share']}"
        case "nfs":
            server = entry["server"]
            return f"[{server}]:{entry['path']}" if ":" in server.strip("[]") else f"{server}:{entry['path']}"
        case _:
            return f"UUID={entry['uuid']}"


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / GB:,.1f} GB"


# --- changing ---------------------------------------------------------------------------------------------------------


@mount.command()
@click.argument("name", type=NAME)
@click.argument("source", type=NAME, metavar=SOURCE)
@click.option("--usage", type=click.Choice(USAGES), required=True, help="Who sees it.")
@click.option("--read-only", is_flag=True, help="Let nobody write there.")
@_with_options
@invocation_options
@pass_invocation
def add(
    invocation: Invocation, /, name: str, source: str, *, usage: str, read_only: bool, port: int | None,
    smb_version: str | None, username: str | None, password_file: IO[str] | None, plan: bool,
) -> None:  # fmt: skip
    """Mount something, and keep it when it answers. What is mounted is said as for mount(8):

    \b
    rooftree mount add films //nas/films --usage media --username ha
    rooftree mount add films nas:/volume/films --usage media
    rooftree mount add films LABEL=films --usage media

    A disk is a path in /dev, LABEL=… or UUID=….
    """
    body = {"usage": usage, "read_only": read_only, **source_keys(source)}
    body |= _said(port=port, version=smb_version) | _login(username, password_file)
    if _is_done(invocation, "POST", "/mounts", {"name": name, **body}, plan=plan):
        _tell_of(invocation, name, f"The mount {name} is there, and answers.")


@mount.command()
@click.argument("name", type=NAME)
@click.argument("source", type=NAME, required=False, metavar=f"[{SOURCE}]")
@click.option("--usage", type=click.Choice(USAGES), help="Who sees it.")
@click.option("--read-only/--writable", default=None, help="Whether nobody may write there.")
@click.option("--guest", is_flag=True, help="Log in no more.")
@_with_options
@invocation_options
@pass_invocation
def update(
    invocation: Invocation, /, name: str, source: str | None, *, usage: str | None, read_only: bool | None,
    guest: bool, port: int | None, smb_version: str | None, username: str | None, password_file: IO[str] | None,
    plan: bool,
) -> None:  # fmt: skip
    """Change a mount; what is not said stays as it is. The old one is in use until the new one answers.

    One that logs in has to be told again how (--username), or that it does so no more (--guest).
    """
    known = _known(invocation, name)
    body = {key: known[key] for key in ("usage", "read_only")}
    if source is not None:
        body |= source_keys(source)
    else:
        body |= _said(**{key: known.get(key) for key in _KEYS[known["type"]]})
    if known["has_login"] and body["type"] == "cifs" and not username and not guest:
        raise click.UsageError(f"{name} logs in: say --username, and its password is asked for, or --guest")
    if guest and username:
        raise click.UsageError("--username and --guest: only one of them can be meant")
    body |= _said(usage=usage, read_only=read_only, port=port, version=smb_version)
    body |= _login(username, password_file)
    if _is_done(invocation, "PUT", _path(name), body, plan=plan):
        _tell_of(invocation, name, f"The mount {name} is as you said, and answers.")


_KEYS: Final = {
    "cifs": ("type", "server", "share", "port", "version"),
    "nfs": ("type", "server", "path", "port"),
    "disk": ("type", "uuid"),
}
"""What says of a mount what is mounted, by its type."""


@mount.command()
@click.argument("name", type=NAME)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--plan", is_flag=True, help="Only show what would be done.")
@invocation_options
@pass_invocation
def remove(invocation: Invocation, /, name: str, *, yes: bool, plan: bool) -> None:
    """Unmount something, and forget it. What is on it stays there. Who uses it is named before."""
    if not plan and not yes:
        for user in _known(invocation, name)["used_by"]:
            tell(user, err=True)
        click.confirm(f"Remove the mount {name}?", abort=True, err=True)
    if not _is_done(invocation, "DELETE", _path(name), None, plan=plan):
        return
    if invocation.as_json:
        print_json({"name": name})
    else:
        tell(f"The mount {name} is gone; what is on it stayed there.", err=True)


@mount.command()
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def reload(invocation: Invocation, /, name: str) -> None:
    """Have a mount answer, or mount it anew."""
    invocation.ask("POST", f"{_path(name)}/reload", patience_s=TAKES_S)
    _tell_of(invocation, name, f"The mount {name} answers.")


@mount.command()
@click.argument("name", type=NAME, required=False, metavar=f"[NAME|{HERE}]")
@invocation_options
@pass_invocation
def default(invocation: Invocation, /, name: str | None) -> None:
    """Say, or choose, the mount that backups go to; .local is the data folder."""
    if name is not None:
        chosen = None if name == HERE else name
        invocation.ask("POST", "/mounts/options", {"default_backup_mount": chosen})
    current = invocation.ask("GET", "/mounts")["default_backup_mount"]
    if invocation.as_json:
        print_json({"default_backup_mount": current})
    else:
        tell(current or HERE)


def _tell_of(invocation: Invocation, name: str, sentence: str) -> None:
    if invocation.as_json:
        print_json(_known(invocation, name))
    else:
        tell(sentence, err=True)


def _path(name: str) -> str:
    return f"/mounts/{quote(name, safe='')}"


def _known(invocation: Invocation, name: str) -> dict[str, Any]:
    """A mount that is kept; raises ``NotFound``."""
    from rooftree.errors import NotFound

    mounts: list[dict[str, Any]] = invocation.ask("GET", "/kernel/v1/mounts")["mounts"]
    for entry in mounts:
        if entry["name"] == name:
            return entry
    there = ", ".join(entry["name"] for entry in mounts)
    raise NotFound(f"There is no mount {name}; there {f'are {there}' if there else 'are none'}")


def source_keys(source: str) -> dict[str, Any]:
    """What a source names, as the API has it; raises ``UsageError`` for what can't be told."""
    if source.startswith(("//", "\\\\")):
        server, _, share = source[2:].replace("\\", "/").partition("/")
        if server and share:
            return {"type": "cifs", "server": server, "share": share.rstrip("/")}
    elif source.startswith("UUID="):
        return {"type": "disk", "uuid": source.removeprefix("UUID=")}
    elif source.startswith(("/dev/", "LABEL=")):
        return {"type": "disk", "device": source}
    else:
        end = "]:" if source.startswith("[") else ":"
        server, colon, path = source.removeprefix("[").partition(end)
        if colon and server and path.startswith("/"):
            return {"type": "nfs", "server": server, "path": path}
    raise click.UsageError(
        f"{source}: must be //server/share, server:/path (an IPv6 address in brackets), or a disk: /dev/…, LABEL=…, "
        "UUID=…"
    )


def _said(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _login(username: str | None, password_file: IO[str] | None) -> dict[str, str]:
    """User name and password; raises ``UsageError`` where nobody can be asked for that."""
    if username is None:
        if password_file is not None:
            raise click.UsageError("--password-file: belongs to a --username")
        return {}
    if password_file is not None:
        password = password_file.readline().rstrip("\r\n")
    else:
        password = ask_secret("Password", otherwise="write it to the standard input, or say --password-file")
    return {"username": username, "password": password}


def _is_done(invocation: Invocation, method: str, path: str, body: Any, *, plan: bool) -> bool:
    """Have it done, or show what would be; whether it was done."""
    if not plan:
        invocation.ask(method, path, body, patience_s=TAKES_S)
        return True
    planned = invocation.ask(method, f"{path}?plan=1", body, patience_s=TAKES_S)
    if invocation.as_json:
        print_json(planned)
        return False
    for step in planned["steps"]:
        tell(f"{step['what']}{' It is away meanwhile.' if step['downtime'] else ''}")
        for note in step["notes"]:
            tell(f"  {note}")
    return False
