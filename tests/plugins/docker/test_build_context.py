"""A build context is sent as it is, without what must stay at home."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from rooftree.interfaces.containers import BuildFailed
from rooftree_docker import build_context
from rooftree_docker.build_context import IgnoreRules, base_images, read_dockerfile, tar_stream


async def archived(folder: Path, dockerfile: str = "Dockerfile") -> dict[str, tarfile.TarInfo]:
    async with tar_stream(folder, dockerfile) as blocks:
        data = b"".join([block async for block in blocks])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "rootfs" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "rootfs" / "run.sh").chmod(0o755)
    return tmp_path


async def test_files_folders_and_modes_arrive_owned_by_root(folder: Path) -> None:
    members = await archived(folder)

    assert set(members) == {"Dockerfile", "rootfs", "rootfs/run.sh"}
    assert members["rootfs/run.sh"].mode == 0o755
    assert members["rootfs/run.sh"].uid == 0


async def test_links_stay_links_and_nothing_outside_is_read(folder: Path) -> None:
    (folder / "secret").symlink_to("/etc/shadow")
    (folder / "outside").symlink_to("/etc")
    os.mkfifo(folder / "pipe")

    members = await archived(folder)

    assert members["secret"].issym() and members["secret"].linkname == "/etc/shadow"
    assert members["outside"].issym()
    assert not [name for name in members if name.startswith(("outside/", "pipe"))]


async def test_dockerignore_leaves_out_and_takes_back_but_never_the_dockerfile(folder: Path) -> None:
    for name in ("notes.md", "README.md", "rootfs/cache.bin"):
        (folder / name).write_text("x")
    (folder / ".dockerignore").write_text("# comment\n*.md\n!README.md\nDockerfile\n**/*.bin\n")

    members = await archived(folder)

    assert set(members) == {".dockerignore", "Dockerfile", "README.md", "rootfs", "rootfs/run.sh"}


async def test_large_file_is_streamed_whole(folder: Path) -> None:
    (folder / "big").write_bytes(os.urandom(3_000_000))

    members = await archived(folder)

    assert members["big"].size == 3_000_000


async def test_reader_that_stops_early_leaves_nothing_behind(folder: Path) -> None:
    (folder / "big").write_bytes(bytes(20_000_000))
    before = len(list(Path("/proc/self/fd").iterdir()))

    async with tar_stream(folder, "Dockerfile") as blocks:
        async for _ in blocks:
            break

    assert len(list(Path("/proc/self/fd").iterdir())) <= before


async def test_folder_that_is_too_large_is_refused_before_anything_is_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_context, "LARGEST_CONTEXT_BYTES", 1000)
    (folder / "big").write_bytes(bytes(2000))

    with pytest.raises(BuildFailed, match="too large"):
        await archived(folder)


async def test_dockerfile_must_be_inside_the_folder(folder: Path) -> None:
    with pytest.raises(BuildFailed, match="There is no"):
        await read_dockerfile(folder, "../Dockerfile")
    with pytest.raises(BuildFailed, match="There is no"):
        await read_dockerfile(folder, "missing")


@pytest.mark.parametrize(
    ("pattern", "path", "left_out"),
    [
        ("node_modules", "node_modules/a/b", True),
        ("node_modules", "src/node_modules", False),
        ("/build/", "build/x", True),
        ("*.log", "a.log", True),
        ("*.log", "sub/a.log", False),
        ("**/*.log", "sub/deep/a.log", True),
        ("**/*.log", "a.log", True),
        ("docs/**", "docs/a/b", True),
        ("fil?.[ch]", "file.c", True),
        ("fil?.[^ch]", "file.c", False),
        ("a+b", "a+b", True),
        ("a+b", "aab", False),
    ],
)
def test_patterns_mean_what_docker_means(pattern: str, path: str, left_out: bool) -> None:
    assert IgnoreRules.parse(pattern).leave_out(path) is left_out


def test_images_a_build_starts_from_are_found_in_dockerfile_and_arguments() -> None:
    text = "ARG BUILD_FROM\nFROM $BUILD_FROM\nFROM --platform=linux/amd64 quay.io/tools/go:1 AS tools\n"

    registries = {image.registry for image in base_images(text, {"BUILD_FROM": "ghcr.io/base/amd64:3.20"})}

    assert registries == {"ghcr.io", "quay.io"}
