"""An image's export is looked at before an engine loads it: it must not bring a name that is somebody else's."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from rooftree.interfaces.containers import ImageImportRefused
from rooftree_docker.image_exports import refuse_other_names
from rooftree_docker.image_reference import ImageReference

OWN, STRANGE = "local/amd64-addon-tiny:1.0.0", "ghcr.io/home-assistant/home-assistant:2026.11"
IMAGE = ImageReference.parse(OWN)


def export(folder: Path, *files: tuple[str, object]) -> Path:
    """A file with these JSON documents, of which several may have one name."""
    path = folder / "image.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def manifest(*names: str) -> tuple[str, object]:
    return "manifest.json", [{"RepoTags": list(names)}]


def index(name: str) -> tuple[str, object]:
    return "index.json", {"manifests": [{"annotations": {"io.containerd.image.name": name}}]}


def repositories(name: str) -> tuple[str, object]:
    repository, _, tag = name.rpartition(":")
    return "repositories", {repository: {tag: "0" * 64}}


def test_export_of_the_image_itself_is_taken(tmp_path: Path) -> None:
    refuse_other_names(export(tmp_path, manifest(OWN), index(f"docker.io/{OWN}"), repositories(OWN)), IMAGE)


@pytest.mark.parametrize(
    "files",
    [
        [manifest(STRANGE)],
        [manifest(OWN, STRANGE)],
        [manifest(OWN), index(STRANGE)],
        [manifest(OWN), repositories(STRANGE)],
        [manifest(OWN), manifest(STRANGE)],
        [manifest(OWN), ("./manifest.json", [{"RepoTags": [STRANGE]}])],
        [manifest(OWN.replace("1.0.0", "2.0.0"))],
        [manifest()],
        [],
        [("manifest.json", {"RepoTags": OWN})],
        [("manifest.json", 5)],
        [("index.json", {})],
        [manifest("no name at all!")],
    ],
)
def test_export_with_any_other_name_or_none_is_refused(tmp_path: Path, files: list[tuple[str, object]]) -> None:
    with pytest.raises(ImageImportRefused, match="no export of the image"):
        refuse_other_names(export(tmp_path, *files), IMAGE)


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(1024)])
def test_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)

    with pytest.raises(ImageImportRefused):
        refuse_other_names(path, IMAGE)
