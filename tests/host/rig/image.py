"""The image of the test host: made of this machine's own distribution, kept on the engine by a hash of its recipe.

``debootstrap`` makes the base, the ``Dockerfile`` beside this module the rest.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from pathlib import Path

from tests.rig.debootstrap import Source, Unavailable, acquire_options, import_base, sources
from tests.rig.engine import Engine

RECIPE = Path(__file__).with_name("image")
NAME = "rooftree-test-host"
FAMILY_LABEL = "io.rooftree.test-host"
"""On every image and container of ours, for ``make clean``."""


def test_host_image(engine: Engine) -> str:
    """The name of the image, built if the engine has none of this recipe (a minute or two).

    Raises :class:`Unavailable` where it can't be had.
    """
    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME", "")
    name = f"{NAME}:{_fingerprint(suite)}"
    if engine.run("images", "--quiet", name):
        return name
    of_release = [source for source in sources() if source.suite.partition("-")[0] == suite]
    if not of_release:
        raise Unavailable(f"apt knows no packages for {release.get('PRETTY_NAME', 'this system')}; try apt-get update")
    with tempfile.TemporaryDirectory(prefix="rooftree-test-host-") as folder:
        _build(name, _base_image(suite, of_release, engine), of_release, engine, Path(folder) / "context")
    return name


def _fingerprint(suite: str) -> str:
    """Changes with whatever decides what is in the image, but for the state of the distribution's archive."""
    digest = hashlib.sha256(f"{suite} {platform.machine()}".encode())
    for path in sorted(path for path in RECIPE.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(RECIPE)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _base_image(suite: str, of_release: list[Source], engine: Engine) -> str:
    """The smallest system of that suite, as an image."""
    name = f"{NAME}-base:{suite}-{platform.machine()}"
    if not engine.run("images", "--quiet", name):
        site = next(source.site for source in of_release if source.suite == suite)
        import_base(name, suite, site, engine, f"{FAMILY_LABEL}=base")
    return name


def _build(name: str, base: str, of_release: list[Source], engine: Engine, context: Path) -> None:
    shutil.copytree(RECIPE, context)
    apt = context / "apt"
    (apt / "apt.conf.d").mkdir(parents=True)
    lines = (f"deb {source.site} {source.suite} {source.component}\n" for source in of_release)
    (apt / "sources.list").write_text("".join(lines), encoding="utf-8")
    (apt / "apt.conf.d" / "90machine").write_text(acquire_options(), encoding="utf-8")
    try:
        engine.run(
            "build", "--quiet", "--network", "host", "--tag", name, "--label", f"{FAMILY_LABEL}=host",
            "--build-arg", f"BASE={base}", context,
        )  # fmt: skip
    except RuntimeError as error:
        raise Unavailable(f"the image of the test host could not be built: {error}") from error
