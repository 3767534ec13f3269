"""The stand-in for Home Assistant Core (:mod:`tests.rig.core_program`) as images, one for each version: made of this
machine's own Python and of busybox, with no registry in sight. What is wrong with one is a trait: ``crashes=1``."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from tests.rig import core_program
from tests.rig.engine import Engine
from tests.rig.registry import Registry

NOT_NEEDED = shutil.ignore_patterns(
    "site-packages", "test", "idlelib", "tkinter", "turtledemo", "ensurepip", "pydoc_data", "config-*", "lib2to3",
    "_tkinter*", "_test*", "*.opt-*.pyc", "*.a",
)  # fmt: skip
"""Of Python's own library."""
PACKAGES = (
    "aiohttp", "aiohappyeyeballs", "aiosignal", "attr", "attrs", "frozenlist", "idna", "multidict", "propcache", "yarl",
)  # fmt: skip
"""aiohttp, and what it imports."""
NAME = "home/core"
KEPT_LABEL = "io.rooftree.core=stand-in"
"""For ``make clean``."""
DOCKERFILE = """\
FROM {base}
LABEL io.hass.type=core io.hass.version={version} io.hass.arch={arch} {label}
ENV CORE_CHARACTER='{character}'
WORKDIR /config
COPY init /init
ENTRYPOINT ["/init"]
"""
INIT = """\
#!/bin/sh
python3 -m homeassistant & core=$!
trap 'kill -TERM $core' TERM
wait $core
status=$?
if [ $status -gt 128 ]; then wait $core; status=$?; fi
exit $status
"""
"""The first process of a container hears no signal that it has no handler for, and Python needs a second for one."""


@frozen
class CoreImages:
    """Where versions of the stand-in are published."""

    registry: Registry
    base: str

    @property
    def name(self) -> str:
        """The image without a tag, as a version feed names it."""
        return f"{self.registry.address}/{NAME}"

    @property
    def label(self) -> str:
        """On every image that is published here, whatever its name becomes."""
        return f"io.rooftree.rig.registry={self.registry.address}"

    def publish(self, version: str, **traits: object) -> str:
        """Build and push that version, which is like that: fields of :class:`tests.rig.core_program.Character`. The
        image's whole name."""
        character = json.dumps({"version": version, **traits})
        dockerfile = DOCKERFILE.format(
            base=self.base,
            version=version,
            arch=self.registry.engine.architecture(),
            label=self.label,
            character=character,
        )
        return self.registry.publish(NAME, version, dockerfile, {"init": INIT})


def core_images(registry: Registry) -> CoreImages:
    """Makes what all versions have in common where the engine has none that is the same: it takes seconds, and is kept
    for the next time."""
    name = f"rooftree-rig/core:{_fingerprint()}"
    if not registry.engine.run("images", "--quiet", name):
        _build_base(name, registry.engine, registry.base_image)
    return CoreImages(registry, name)


def _fingerprint() -> str:
    """Changes with what is in the image, the busybox excepted."""
    parts = [
        sys.version,
        str(Path(sys.executable).resolve()),
        *(f"{package} {_modified(package)}" for package in PACKAGES),
    ]
    digest = hashlib.sha256("\0".join(parts).encode())
    for module in (__file__, core_program.__file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()[:16]


def _modified(package: str) -> int:
    return (Path(sysconfig.get_path("platlib")) / package).stat().st_mtime_ns


def _build_base(name: str, engine: Engine, base_image: str) -> None:
    """An image with this machine's Python at the place where it lies here, so that it finds what it looks for."""
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    installed = Path(sysconfig.get_path("platlib"))
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        root = context / "root"
        shutil.copytree(library, _inside(root, library), ignore=NOT_NEEDED)
        packages = _inside(root, library) / "site-packages"
        for package in PACKAGES:
            shutil.copytree(installed / package, packages / package)
        (packages / "homeassistant").mkdir()
        shutil.copy2(core_program.__file__, packages / "homeassistant" / "__main__.py")
        for file in (python, *_libraries([python, *root.rglob("*.so")])):
            target = _inside(root, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
        commands = root / "usr" / "bin"
        commands.mkdir(parents=True)
        (commands / "python3").symlink_to(python)
        (context / "Dockerfile").write_text(f"FROM {base_image}\nCOPY root/ /\n", encoding="utf-8")
        engine.run("build", "--quiet", "--label", KEPT_LABEL, "--tag", name, context)


def _inside(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """The shared libraries that they are linked with, and who loads those."""
    listed = subprocess.run(
        ["ldd", *programs], capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )
    return {Path(path) for path in re.findall(r"(?:=>\s+|^\s+)(/\S+) \(0x", listed.stdout, re.MULTILINE)}
