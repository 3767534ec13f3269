"""In the place of mount.cifs(8) and mount.nfs(8), for a kernel that has neither: checks what it is told, and shows a
folder of this machine as the share.

Installed as ``/sbin/mount.cifs`` and ``/sbin/mount.nfs`` it is what mount(8) calls; as ``mount`` in the ``PATH`` it
does the same for these two types, and leaves all others to the real one. The servers are folders below
``$TEST_SHARES`` (``/run/shares``): ``<server>/<share>``, with ``%`` for a slash. Beside a share may lie
``<share>.login`` (who may mount it: the lines that the file with the credentials must have), ``<share>.hangs`` (its
server lets nobody in, and does not say so) and ``<share>.dies`` (it is served by ``fuse_share.py``, whose process is
noted in ``<share>.pid``). What was asked is kept, a line of JSON each, in ``asked``; the servers' processes in
``servers``. Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SHARES = Path(os.environ.get("TEST_SHARES", "/run/shares"))
MOUNT = "/bin/mount"
NAMES = {"rw", "ro", "nosuid", "nodev", "noserverino", "soft", "softerr", "guest"}
VALUES = {"port", "echo_interval", "retrans", "timeo", "vers", "credentials"}


def refuse(number: int, text: str) -> None:
    """End as mount.cifs(8) does."""
    sys.exit(f"mount error({number}): {text}\nRefer to the manual page")


def mount(kind: str, source: str, target: str, options: list[str]) -> None:
    """Mount a share, or say why not."""
    given = dict(option.partition("=")[::2] for option in options)
    for name, value in given.items():
        if name not in (VALUES if value else NAMES):
            refuse(22, f"Invalid argument {name}={value}")
    end = "/" if kind == "cifs" else "]:" if source.startswith("[") else ":"
    server, _, path = source.removeprefix("//").removeprefix("[").partition(end)
    share = SHARES / server / path.replace("/", "%")
    login, mode = "", 0
    if "credentials" in given:
        file = Path(given["credentials"])
        login, mode = file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777
    asked = {"type": kind, "source": source, "options": options, "mode": f"{mode:o}"}
    with (SHARES / "asked").open("a", encoding="utf-8") as record:
        record.write(json.dumps(asked) + "\n")
    if share.with_name(f"{share.name}.hangs").exists():
        time.sleep(1000)
    if not share.is_dir():
        refuse(2, "No such file or directory")
    wanted = share.with_name(f"{share.name}.login")
    if wanted.exists() and wanted.read_text(encoding="utf-8") != login:
        refuse(13, "Permission denied")
    if share.with_name(f"{share.name}.dies").exists():
        serve(share, os.path.realpath(target))
    else:
        flags = ",".join(option for option in options if option in {"ro", "nosuid", "nodev"})
        subprocess.run([MOUNT, "--bind", "-o", flags, share, os.path.realpath(target)], check=True)


def serve(share: Path, target: str) -> None:
    """Have a process of its own be the server."""
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("fuse_share.py"), target],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    if server.stdout.readline() != b"mounted\n":
        refuse(5, "Input/output error")
    share.with_name(f"{share.name}.pid").write_text(str(server.pid), encoding="ascii")
    with (SHARES / "servers").open("a", encoding="ascii") as servers:
        servers.write(f"{server.pid}\n")


def main() -> None:
    """Do what mount(8), or whoever calls it, wants."""
    name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    if name.startswith("mount."):
        source, target, *_ = arguments
        options = arguments[arguments.index("-o") + 1].split(",") if "-o" in arguments else []
        mount(name.removeprefix("mount."), source, target, options)
    elif "--types" in arguments and arguments[arguments.index("--types") + 1] in {"cifs", "nfs"}:
        kind = arguments[arguments.index("--types") + 1]
        source, target = arguments[-2:]
        mount(kind, source, target, arguments[arguments.index("--options") + 1].split(","))
    else:
        os.execv(MOUNT, ["mount", *arguments])


if __name__ == "__main__":
    main()
