"""What the authors of add-ons write: repositories and images that the tests install from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

REPOSITORY = {"repository.yaml": json.dumps({"name": "Rig", "maintainer": "The rig", "url": "https://example.com"})}
"""Makes a folder an add-on repository."""

WAITS = """\
#!/bin/sh
trap 'echo "going"; exit 0' TERM
echo "version ${VERSION:-unknown} begins"
while :; do
    sleep 3600 &
    wait
done
"""
"""A program that says which version it is, waits, and ends at once when it is asked to."""

DOCKERFILE = "FROM base\nENV VERSION={version}\nCOPY run.sh /run.sh\nCMD /run.sh\n"

LARGE_DOCKERFILE = "FROM base\nCOPY noise /noise\nCMD sleep 3600\n"
"""An image that takes a while to fetch, with :func:`large_files`."""


def large_files() -> Mapping[str, bytes]:
    """Four megabytes that nobody has yet, nor packs: those of :data:`LARGE_DOCKERFILE`."""
    return {"noise": os.urandom(4_000_000)}


def addon_files(
    slug: str, version: str = "1.0", *, image: str | None = None, base: str = "", script: str = WAITS, **config: object
) -> Mapping[str, str]:
    """The files of one add-on, to be written into a repository.

    :param image: the image's name without its tag; ``None`` for one that is built locally
    :param base: the image a local build begins with
    :param script: what a locally built one runs
    :param config: more keys of ``config.yaml``
    """
    content = {
        "name": slug.title(),
        "version": version,
        "slug": slug,
        "description": f"{slug}, for a test",
        "arch": ["amd64", "aarch64"],
        "init": False,
        **({} if image is None else {"image": image}),
        **config,
    }
    files = {f"{slug}/config.yaml": json.dumps(content, indent=2)}
    if image is None:
        dockerfile = DOCKERFILE.format(version=version).replace("FROM base", f"FROM {base}")
        files |= {f"{slug}/Dockerfile": dockerfile, f"{slug}/run.sh": script}
    return files
