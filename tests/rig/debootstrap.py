"""Base images out of a distribution's own packages, with no registry in sight; packages come from where this machine's
apt gets them, and nothing here names a mirror."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from tests.rig.engine import Engine

DEBOOTSTRAP = "/usr/sbin/debootstrap"


class Unavailable(Exception):
    """An image can't be built here, with the reason."""


@frozen
class Source:
    """One entry of apt's sources."""

    origin: str
    site: str
    suite: str
    component: str


def sources() -> Iterator[Source]:
    """Where apt gets Debian's or Ubuntu's packages, updates and security fixes included."""
    if shutil.which("apt-get") is None:
        raise Unavailable("it is made of Debian's or Ubuntu's packages, and here is no apt")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for row in listed.stdout.splitlines():
        match row.split():
            case [("Debian" | "Ubuntu") as origin, site, suite, component]:
                yield Source(origin, site, suite, component)


def import_base(name: str, suite: str, site: str | None, engine: Engine, label: str) -> None:
    """Make an image of the smallest system of that suite.

    :param site: where its packages come from; ``None`` for where debootstrap gets them
    """
    if not Path(DEBOOTSTRAP).exists():
        raise Unavailable("no debootstrap here; the package of that name has it")
    with tempfile.TemporaryDirectory(prefix="rooftree-debootstrap-") as folder:
        root, log = Path(folder) / "root", Path(folder) / "log"
        with log.open("wb") as output:
            done = subprocess.run(
                [DEBOOTSTRAP, "--variant=minbase", suite, root, *([] if site is None else [site])],
                stdout=output, stderr=output, check=False, env=os.environ | _proxies(),
            )  # fmt: skip
        if done.returncode:
            raise Unavailable(f"debootstrap failed:\n{log.read_text(errors='replace')[-2000:]}")
        archive = Path(folder) / "root.tar"
        whole = ("--one-file-system", "--directory", root, ".")
        subprocess.run(["tar", "--create", "--file", archive, *whole], check=True)
        engine.run("import", "--change", f"LABEL {label}", archive, name)


def acquire_options() -> str:
    """How this machine's apt fetches, as a file of its configuration: proxies, and whether a mirror may be old."""
    dumped = subprocess.run(
        ["apt-config", "dump", "Acquire", "--format", '%F "%v";%n'], capture_output=True, text=True, check=True
    )
    wanted = ("Acquire::Check-", "Acquire::http", "Acquire::ForceIPv4", "Acquire::Retries")
    return "".join(f"{line}\n" for line in dumped.stdout.splitlines() if line.startswith(wanted))


def _proxies() -> dict[str, str]:
    """For debootstrap, which reads no apt configuration."""
    shell = subprocess.run(
        ["apt-config", "shell", "http_proxy", "Acquire::http::Proxy", "https_proxy", "Acquire::https::Proxy"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    pairs = (line.partition("=") for line in shell.stdout.splitlines())
    return {name: value.strip("'") for name, _, value in pairs}
