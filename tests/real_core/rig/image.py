"""The image of a real Home Assistant Core, made of public packages: Debian sid's Python, and what Python's index of
packages has. Nothing of it is in the repository; it is kept on the engine by a hash of its recipe, and built once, in
three minutes. ``debootstrap`` makes the base, the ``Dockerfile`` beside this module the rest."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.rig.debootstrap import Unavailable, acquire_options, import_base, sources
from tests.rig.engine import Engine

VERSION = "2026.11.0"
RECIPE = Path(__file__).with_name("image")
NAME = "rooftree-real-core"
FAMILY_LABEL = "io.rooftree.core"
"""On every image of this family, for ``make clean``."""
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
"""Whom this machine trusts."""
FETCHING = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries", "proxy")
"""What of pip's configuration says where and how this machine fetches packages."""


def real_core_image(engine: Engine) -> str:
    """The name of the image, built if the engine has none of this recipe.

    Raises :class:`Unavailable` where it can't be had.
    """
    name = f"{NAME}:{_fingerprint()}"
    if not engine.run("images", "--quiet", name):
        _build(name, _base_image(engine), engine)
    return name


def _fingerprint() -> str:
    digest = hashlib.sha256(f"{VERSION} {platform.machine()}".encode())
    for path in sorted(path for path in RECIPE.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(RECIPE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _base_image(engine: Engine) -> str:
    name = f"{NAME}-base:sid-{platform.machine()}"
    if not engine.run("images", "--quiet", name):
        of_debian = (source.site for source in sources() if source.origin == "Debian" and "-" not in source.suite)
        import_base(name, "sid", next(of_debian, None), engine, f"{FAMILY_LABEL}=base")
    return name


def _build(name: str, base: str, engine: Engine) -> None:
    with tempfile.TemporaryDirectory(prefix="rooftree-real-core-") as folder:
        context = Path(folder) / "context"
        shutil.copytree(RECIPE, context)
        machine = context / "machine" / "etc"
        (machine / "apt" / "apt.conf.d").mkdir(parents=True)
        # The newest Release file of a mirror may be older than it says it may get.
        text = acquire_options() + 'Acquire::Check-Valid-Until "false";\n'
        (machine / "apt" / "apt.conf.d" / "90machine").write_text(text, encoding="utf-8")
        (machine / "pip.conf").write_text(_pip_configuration(), encoding="utf-8")
        (machine / "machine-ca.crt").write_bytes(AUTHORITIES.read_bytes() if AUTHORITIES.exists() else b"")
        try:
            engine.run(
                "build", "--quiet", "--network", "host", "--tag", name, "--label", f"{FAMILY_LABEL}=real",
                "--build-arg", f"BASE={base}", "--build-arg", f"VERSION={VERSION}", context,
            )  # fmt: skip
        except RuntimeError as error:
            raise Unavailable(f"the image of Home Assistant Core could not be built: {error}") from error


def _pip_configuration() -> str:
    """Of this machine, as far as it holds in a container: an index in a folder does not."""
    if (pip := shutil.which("pip3")) is None:
        return ""
    listed = subprocess.run([pip, "config", "list"], capture_output=True, text=True, check=True)
    pairs = (line.partition("=") for line in listed.stdout.splitlines())
    chosen = {
        name.rpartition(".")[2]: value.strip("'")
        for name, _, value in pairs
        if name.rpartition(".")[2] in FETCHING and "file:" not in value
    }
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in chosen.items())
