"""The 400 add-ons: real repositories from the corpus beside the checkout, or generated ones where it is absent.

They are laid into a data folder as clones that were fetched earlier, so that nothing needs a network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "addon-repos"
ADDONS = 400
GENERATED_REPOSITORIES = 25
GENERATED_ADDONS_EACH = 16


def lay_out(data_dir: Path) -> list[str]:
    """Fill ``apps/git`` of a data folder; the URLs of the repositories, for ``[plugins.store] repositories``."""
    real = sorted(path for path in CORPUS.iterdir() if path.is_dir()) if CORPUS.is_dir() else []
    if real:
        sources = {f"https://corpus.invalid/{path.name.replace('__', '/', 1)}": path for path in real}
        for url, path in sources.items():
            shutil.copytree(path, _clone(data_dir, url))
        return list(sources)
    urls = [f"https://generated.invalid/repository-{number}" for number in range(GENERATED_REPOSITORIES)]
    for url in urls:
        _generate(_clone(data_dir, url), url)
    return urls


def refuse_few(addons: int) -> None:
    """Raise where there are fewer add-ons than the figures are for."""
    if addons < ADDONS:
        raise RuntimeError(f"there are {addons} add-ons; the benchmark needs {ADDONS}")


def origin() -> str:
    """Which of the two it is, for the table."""
    return "the corpus" if CORPUS.is_dir() else "generated add-ons"


def _clone(data_dir: Path, url: str) -> Path:
    """Where the store keeps a repository: a folder named by eight digits of its URL's SHA-1."""
    return data_dir / "apps" / "git" / hashlib.sha1(url.lower().encode()).hexdigest()[:8]


def _generate(folder: Path, url: str) -> None:
    folder.mkdir(parents=True)
    (folder / "repository.yaml").write_text(f"name: Repository at {url}\nurl: {url}\nmaintainer: The benchmark\n")
    for number in range(GENERATED_ADDONS_EACH):
        addon = folder / f"addon_{number}"
        (addon / "translations").mkdir(parents=True)
        (addon / "config.yaml").write_text(_CONFIG.format(number=number, url=json.dumps(url)))
        (addon / "translations" / "en.yaml").write_text("configuration:\n  level:\n    name: How much is logged\n")
        for name in ("README.md", "DOCS.md", "CHANGELOG.md"):
            (addon / name).write_text(f"# Add-on {number}\n\nOne line that says something.\n")


# About what the average config of the corpus has: 1.5 kB, a dozen options with a schema, ports, folders, an image.
_CONFIG = """\
name: Generated add-on {number}
version: 1.{number}.0
slug: generated_{number}
description: The add-on with the number {number}, which does nothing and says so at some length
url: {url}
arch: [aarch64, amd64]
image: example.invalid/generated/{{arch}}-addon-{number}
init: false
startup: services
boot: auto
ingress: true
ingress_port: 8099
panel_icon: mdi:home
homeassistant_api: true
hassio_role: default
map:
  - type: share
    read_only: false
  - ssl
ports:
  80/tcp: 8{number:03d}
  1883/udp: null
ports_description:
  80/tcp: The web page
  1883/udp: Messages, where somebody wants them
environment:
  LOG_COLOUR: "1"
  HOME: /data
options:
  level: info
  host: core.example.invalid
  port: 1883
  ssl: true
  certificate: fullchain.pem
  users:
    - name: first
      groups: [readers, writers]
  intervals:
    short: 10
    long: 3600
schema:
  level: list(trace|debug|info|notice|warning|error)
  host: str
  port: port
  ssl: bool
  certificate: str?
  password: password?
  users:
    - name: match(^[a-z]+$)
      groups: [str]
  intervals:
    short: int(1,60)
    long: int(60,)?
"""
