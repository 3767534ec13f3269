"""The image of the test host: made of this machine's own distribution, kept on the engine by a hash of its recipe.

``debootstrap`` makes the base, the ``Dockerfile`` beside this module the rest. Packages come from where this machine's
apt gets them; nothing here names a mirror.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from tests.rig.engine import Engine

RECIPE = Path(__file__).with_name("image")
NAME = "rooftree-test-host"
FAMILY_LABEL = "io.rooftree.test-host"
"""On every image and container of ours, for ``make clean``."""
DEBOOTSTRAP = "/usr/sbin/debootstrap"


class Unavailable(Exception):
    """The test host can't be built here, with the reason."""


@frozen
class Source:
    """One entry of apt's sources."""

    site: str
    suite: str
    component: str


def test_host_image(engine: Engine) -> str:
    """The name of the image, built if the engine has none of this recipe (a minute or two).

    Raises :class:`Unavailable` where it can't be had.
    """
    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME", "")
    name = f"{NAME}:{_fingerprint(suite)}"
    if engine.run("images", "--quiet", name):
        return name
    sources = list(_sources(suite))
    if not sources:
        raise Unavailable(f"apt knows no packages for {release.get('PRETTY_NAME', 'this system')}; try apt-get update")
    if not Path(DEBOOTSTRAP).exists():
        raise Unavailable("no debootstrap here; the package of that name has it")
    with tempfile.TemporaryDirectory(prefix="rooftree-test-host-") as folder:
        _build(name, _base_image(suite, sources, engine, Path(folder)), sources, engine, Path(folder) / "context")
    return name


def _fingerprint(suite: str) -> str:
    """Changes with whatever decides what is in the image, but for the state of the distribution's archive."""
    digest = hashlib.sha256(f"{suite} {platform.machine()}".encode())
    for path in sorted(path for path in RECIPE.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(RECIPE)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(suite: str) -> Iterator[Source]:
    """Where apt gets this release's packages, its updates and security fixes included."""
    if shutil.which("apt-get") is None:
        raise Unavailable("the test host is made of Debian's or Ubuntu's packages, and here is no apt")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for row in listed.stdout.splitlines():
        match row.split():
            case [("Debian" | "Ubuntu"), site, (str() as of), component] if of.partition("-")[0] == suite:
                yield Source(site, of, component)


def _base_image(suite: str, sources: list[Source], engine: Engine, folder: Path) -> str:
    """The smallest system of that suite, as an image."""
    name = f"{NAME}-base:{suite}-{platform.machine()}"
    if engine.run("images", "--quiet", name):
        return name
    site = next(source.site for source in sources if source.suite == suite)
    root, log = folder / "root", folder / "log"
    with log.open("wb") as output:
        done = subprocess.run(
            [DEBOOTSTRAP, "--variant=minbase", suite, root, site],
            stdout=output, stderr=output, check=False, env=os.environ | _proxies(),
        )  # fmt: skip
    if done.returncode:
        raise Unavailable(f"debootstrap failed:\n{log.read_text(errors='replace')[-2000:]}")
    archive = folder / "root.tar"
    subprocess.run(["tar", "--create", "--one-file-system", "--file", archive, "--directory", root, "."], check=True)
    engine.run("import", "--change", f"LABEL {FAMILY_LABEL}=base", archive, name)
    archive.unlink()
    return name


def _build(name: str, base: str, sources: list[Source], engine: Engine, context: Path) -> None:
    shutil.copytree(RECIPE, context)
    apt = context / "apt"
    (apt / "apt.conf.d").mkdir(parents=True)
    lines = (f"deb {source.site} {source.suite} {source.component}\n" for source in sources)
    (apt / "sources.list").write_text("".join(lines), encoding="utf-8")
    (apt / "apt.conf.d" / "90machine").write_text(_acquire_options(), encoding="utf-8")
    try:
        engine.run(
            "build", "--quiet", "--network", "host", "--tag", name, "--label", f"{FAMILY_LABEL}=host",
            "--build-arg", f"BASE={base}", context,
        )  # fmt: skip
    except RuntimeError as error:
        raise Unavailable(f"the image of the test host could not be built: {error}") from error


def _acquire_options() -> str:
    """How this machine's apt fetches: proxies, and whether a mirror may be old."""
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
