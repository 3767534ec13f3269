# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree vault``: vaults, their recovery kits, and the files in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, TextIO
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
    size_text,
    tell,
)

_VAULTS: Final = "/kernel/v1/vaults"
_CREDENTIAL: Final = "A variable of this shell's that the place needs, such as AWS_ACCESS_KEY_ID."
_LONG_S: Final = 24 * 3600.0
"""Seconds that what reads or writes a vault may take."""


@click.group()
@invocation_options
def vault() -> None:
    """Keep backups in vaults, in which nothing is stored twice."""


@vault.command(name="list")
@invocation_options
@pass_invocation
def list_vaults(invocation: Invocation, /) -> None:
    """List the vaults, their backups, and what proved those."""
    answer = invocation.ask("GET", _VAULTS)
    if invocation.as_json:
        print_json(answer)
        return
    rows = [row for item in answer["vaults"] for row in _rows(item)]
    print_table(("VAULT", "PLACE", "BACKUP", "NAME", "DATE", "ADDED", "PROVED"), rows)


def _rows(item: dict[str, Any]) -> list[tuple[str, ...]]:
    place = f"{item['place']} ({item['driver']})"
    backups: list[tuple[str, ...]] = [
        (item["name"], place, backup["slug"], backup["name"], backup["date"][:16].replace("T", " "),
         size_text(backup["added_bytes"]), _proved(backup))
        for backup in item["backups"]
    ]  # fmt: skip
    return backups or [(item["name"], place, "", "", "", "", "")]


def _proved(backup: dict[str, Any]) -> str:
    """How many of its parts were brought back for proof."""
    if broken := [proof["slug"] for proof in backup["proofs"] if not proof["whole"]]:
        return f"DAMAGED: {', '.join(broken)}"
    return f"{len(backup['proofs'])} of {len(backup['parts'])}"


@vault.command()
@click.argument("name", type=NAME)
@click.option("--place", type=NAME, default="local", show_default=True, metavar="PLACE",
              help="local, mount:NAME, or an address such as sftp:user@host:/folder.")  # fmt: skip
@click.option("--driver", type=NAME, default="restic", show_default=True, help="What keeps it.")
@click.option("--existing", is_flag=True, help="Take up a vault that is there; asks for its key.")
@click.option("--credential", "credentials", type=NAME, multiple=True, metavar="VARIABLE", help=_CREDENTIAL)
@click.option("--ssh-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A private key.")
@click.option("--ssh-hosts", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A known_hosts file with the server's key.")  # fmt: skip
@click.option("--ca-certificates", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="PEM file: over TLS only servers with a certificate of these are trusted.")  # fmt: skip
@click.option("--kit", type=click.Path(dir_okay=False, path_type=Path), help="Write the recovery kit there.")
@invocation_options
@pass_invocation
def create(
    invocation: Invocation, /, name: str, place: str, driver: str, *, existing: bool, credentials: tuple[str, ...],
    ssh_key: Path | None, ssh_hosts: Path | None, ca_certificates: Path | None, kit: Path | None,
) -> None:  # fmt: skip
    """Make the vault NAME, and print its recovery kit: keep that where this machine is not."""
    import os

    if lacking := [variable for variable in credentials if variable not in os.environ]:
        raise click.UsageError(f"--credential: this shell has no variable {', '.join(lacking)}")
    body: dict[str, Any] = {
        "name": name,
        "place": place,
        "driver": driver,
        "existing": existing,
        "environment": {variable: os.environ[variable] for variable in credentials},
        "ssh_hosts": ssh_hosts.read_text() if ssh_hosts is not None else "",  # ours: of who types it
        "ca_certificates": ca_certificates.read_text() if ca_certificates is not None else "",  # ours: the same
    }
    if ssh_key is not None:
        body["ssh_key"] = ssh_key.read_text()  # ours: of who types it
    if existing:
        body["key"] = ask_secret("The vault's key", otherwise="write it to the standard input")
    with nullcontext() if kit is None else _kit_file(kit) as file:
        made = invocation.ask("POST", _VAULTS, body, patience_s=_LONG_S)
        if file is not None:
            file.write(made["recovery_kit"])
    if invocation.as_json:
        print_json(made)
        return
    count = len(made["vault"]["backups"])
    tell(
        f"Vault {name} is there" + (f", with {count} backup{'' if count == 1 else 's'}." if existing else "."), err=True
    )
    if kit is None:
        tell(made["recovery_kit"])
    else:
        tell(f"Its recovery kit is in {kit}: move it to where this machine is not.", err=True)


@contextmanager
def _kit_file(path: Path) -> Iterator[TextIO]:
    """A new file for its owner alone, there before the vault, and gone again where that was not made."""
    import os

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # ours: of who types it
    except FileExistsError:
        raise click.UsageError(f"--kit: {path} is there already; the kit is shown by: rooftree vault kit") from None
    try:
        with os.fdopen(descriptor, "w") as file:
            yield file
    except BaseException:
        path.unlink()  # ours: it was made above
        raise


@vault.command()
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def kit(invocation: Invocation, /, name: str) -> None:
    """Print the recovery kit of the vault NAME: who has it can read every backup in it."""
    answer = invocation.ask("GET", f"{_vault(name)}/recovery-kit")
    if invocation.as_json:
        print_json(answer)
    else:
        tell(answer["recovery_kit"])


@vault.command()
@click.argument("name", type=NAME)
@click.option("--kit", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Prove the key in this recovery kit; else the one that is known here.")  # fmt: skip
@invocation_options
@pass_invocation
def check(invocation: Invocation, /, name: str, *, kit: Path | None) -> None:
    """Prove that the vault NAME opens."""
    body = {"key": _key_of(kit)} if kit is not None else {}
    invocation.ask("POST", f"{_vault(name)}/check", body, patience_s=_LONG_S)
    if invocation.as_json:
        print_json({"name": name, "opens": True})
    else:
        tell(f"The vault {name} opens with {'the key in ' + str(kit) if kit is not None else 'its key'}.")


def _key_of(kit: Path) -> str:
    from rooftree_backups_vault.recovery_kit import key_in

    key = key_in(kit.read_text(errors="replace"))  # ours: of who types it
    if key is None:
        raise click.UsageError(f"--kit: {kit} is no recovery kit: it has no line that begins with Key:")
    return key


@vault.command()
@click.argument("name", type=NAME)
@click.argument("backup", type=NAME, required=False)
@click.option("--part", type=NAME, help="An add-on's slug, a folder, homeassistant or supervisor.")
@invocation_options
@pass_invocation
def prove(invocation: Invocation, /, name: str, backup: str | None, *, part: str | None) -> None:
    """Bring a part of a backup of the vault NAME into a scratch place and look at it: the one whose turn it is, or the
    one that is named."""
    body: dict[str, Any] = {"slug": backup} if backup is not None else {}
    if part is not None:
        if backup is None:
            raise click.UsageError("--part goes with a backup")
        body |= {"kind": _kind_of(part), "part": part}
    invocation.ask("POST", f"{_vault(name)}/prove", body, patience_s=_LONG_S)
    shown = invocation.ask("GET", _vault(name))
    if invocation.as_json:
        print_json(shown)
    else:
        proofs = [proof | {"backup": item["slug"]} for item in shown["backups"] for proof in item["proofs"]]
        last = max(proofs, key=lambda proof: str(proof["time"]))
        tell(
            f"{last['slug']} of {last['backup']} is whole: {last['compared_files']} files compared byte by byte, "
            f"{last['opened_files']} opened."
        )


def _kind_of(part: str) -> str:
    if part in {"homeassistant", "supervisor"}:
        return part
    return "folder" if part in {"share", "ssl", "media", "addons/local"} else "addon"


@vault.command()
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def prune(invocation: Invocation, /, name: str) -> None:
    """Free what no backup of the vault NAME needs any more."""
    invocation.ask("POST", f"{_vault(name)}/prune", {}, patience_s=_LONG_S)
    if invocation.as_json:
        print_json({"name": name})
    else:
        tell(f"Room is made in the vault {name}, and what is left is whole.")


@vault.command()
@click.argument("name", type=NAME)
@click.argument("backup", type=NAME)
@click.argument("part", type=NAME)
@click.argument("path", default="")
@invocation_options
@pass_invocation
def files(invocation: Invocation, /, name: str, backup: str, part: str, path: str) -> None:
    """List what lies at PATH in a part of a backup."""
    query = f"?path={quote(path, safe='')}" if path else ""
    answer = invocation.ask("GET", f"{_part(name, backup, part)}/entries{query}", patience_s=_LONG_S)
    if invocation.as_json:
        print_json(answer)
        return
    rows = [
        (entry["type"], str(entry["size_bytes"]), entry["modified"][:16].replace("T", " "), entry["name"])
        for entry in answer["entries"]
    ]
    print_table(("TYPE", "BYTES", "CHANGED", "NAME"), rows)


@vault.command(name="put-back")
@click.argument("name", type=NAME)
@click.argument("backup", type=NAME)
@click.argument("part", type=NAME)
@click.argument("path", type=NAME)
@invocation_options
@pass_invocation
def put_back(invocation: Invocation, /, name: str, backup: str, part: str, path: str) -> None:
    """Bring the file or folder PATH back to where it was; what lies there now stays beside it."""
    invocation.ask("POST", f"{_part(name, backup, part)}/put-back", {"path": path}, patience_s=_LONG_S)
    if invocation.as_json:
        print_json({"path": path})
    else:
        tell(f"{path} is back; what was there is beside it, with .before- in its name.")


@vault.command(name="import")
@click.argument("name", type=NAME)
@click.argument("backup", type=NAME)
@click.option("--ask-password", is_flag=True, help="Ask for the password that opens the backup.")
@invocation_options
@pass_invocation
def import_backup(invocation: Invocation, /, name: str, backup: str, *, ask_password: bool) -> None:
    """Take the BACKUP, which is elsewhere, into the vault NAME.

    The password that opens it is read from BACKUP_PASSWORD, or asked for with --ask-password.
    """
    body = {"slug": backup}
    if ask_password:
        otherwise = "write it to the standard input, or into BACKUP_PASSWORD"
        body["password"] = ask_secret("The backup's password", otherwise=otherwise)
    elif password := os.environ.get("BACKUP_PASSWORD"):
        body["password"] = password
    invocation.ask("POST", f"{_vault(name)}/import", body, patience_s=_LONG_S)
    if invocation.as_json:
        print_json({"name": name, "slug": backup})
    else:
        tell(f"The backup {backup} is in the vault {name} now.")


@vault.command()
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def forget(invocation: Invocation, /, name: str) -> None:
    """Know nothing of the vault NAME any more; what it holds stays where it is."""
    invocation.ask("DELETE", _vault(name))
    if invocation.as_json:
        print_json({"name": name})
    else:
        tell(f"The vault {name} is forgotten. What it holds is where it was; its key opens it.")


def _vault(name: str) -> str:
    return f"{_VAULTS}/{quote(name, safe='')}"


def _part(name: str, backup: str, part: str) -> str:
    return f"{_vault(name)}/backups/{quote(backup, safe='')}/parts/{_kind_of(part)}/{quote(part, safe='')}"
