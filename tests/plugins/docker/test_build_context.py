"""A build context is sent as it is, without what must stay at home."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from pathlib import Path

import pytest

from rooftree.interfaces.containers import BuildFailed
from rooftree_docker import build_context
from rooftree_docker.build_context import base_images, tar_stream
from rooftree_docker.build_context import build_context as open_context
from rooftree_files import Folder


async def archived(folder: Path, dockerfile: str = "Dockerfile") -> dict[str, tarfile.TarInfo]:
    async with open_context(lambda: Folder.open(folder), dockerfile) as context, tar_stream(context) as blocks:
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

    async with open_context(lambda: Folder.open(folder), "Dockerfile") as context, tar_stream(context) as blocks:
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


@pytest.mark.parametrize(
    ("dockerfile", "reason"),
    [
        ("../Dockerfile", "is no plain path"),
        ("missing", "There is no missing"),
        ("out", "leads out of its folder"),
        ("dangling", "is a link that leads nowhere"),
        ("pipe", "is a pipe"),
        ("rootfs", "is a folder"),
        ("large", "larger than"),
        ("elsewhere/Dockerfile", "leads out of its folder"),
    ],
)
async def test_dockerfile_must_be_a_file_of_the_folder(folder: Path, dockerfile: str, reason: str) -> None:
    (folder / "out").symlink_to("../Dockerfile")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "elsewhere").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    with (folder / "large").open("wb") as file:
        file.truncate(2_000_000)

    with pytest.raises(BuildFailed, match=reason):
        await archived(folder, dockerfile)


async def test_dockerfile_may_be_a_link_within_the_folder(folder: Path) -> None:
    (folder / "Dockerfile").rename(folder / "rootfs" / "how")
    (folder / "Dockerfile").symlink_to("rootfs/how")

    async with open_context(lambda: Folder.open(folder), "Dockerfile") as context:
        assert context.text == "FROM scratch\n"
    members = await archived(folder)

    assert members["Dockerfile"].isreg() and members["Dockerfile"].size == len("FROM scratch\n")


@pytest.mark.parametrize("target", ["/dev/zero", "Dockerfile", "/etc/passwd"])
async def test_rules_are_never_read_through_a_link(folder: Path, target: str) -> None:
    (folder / ".dockerignore").symlink_to(target)

    with pytest.raises(BuildFailed, match=r"\.dockerignore is a link, not a regular file"):
        await archived(folder)


async def test_rules_in_a_pipe_or_without_an_end_are_refused(folder: Path) -> None:
    os.mkfifo(folder / ".dockerignore")
    with pytest.raises(BuildFailed, match="is a pipe"):
        await archived(folder)

    (folder / ".dockerignore").unlink()
    (folder / ".dockerignore").write_bytes(b"#" * 300_000)
    with pytest.raises(BuildFailed, match="larger than"):
        await archived(folder)


async def test_what_was_read_of_the_dockerfile_is_what_is_sent(folder: Path) -> None:
    async with open_context(lambda: Folder.open(folder), "Dockerfile") as context:
        (folder / "Dockerfile").unlink()
        (folder / "Dockerfile").write_text("FROM evil\n")
        async with tar_stream(context) as blocks:
            data = b"".join([block async for block in blocks])

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [member for member in archive if member.name == "Dockerfile"]
        assert len(members) == 1
        content = archive.extractfile(members[0])
        assert content is not None and content.read() == b"FROM scratch\n" == context.instructions


def deep_folder(folder: Path, levels: int) -> None:
    """Folders within each other, with more levels than a path can have characters."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


async def test_deep_folder_is_refused_by_name_unless_it_stays_at_home(folder: Path) -> None:
    deep_folder(folder, 3000)
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(BuildFailed, match="is deeper than"):
        await archived(folder)
    (folder / ".dockerignore").write_text("d\n")
    members = await archived(folder)

    assert set(members) == {".dockerignore", "Dockerfile", "rootfs", "rootfs/run.sh"}
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    (folder / ".dockerignore").unlink()

    def remove() -> None:
        with Folder.open(folder) as root:
            root.remove("d")

    await asyncio.to_thread(remove)


async def test_file_that_is_cut_while_it_is_sent_breaks_the_build_off(folder: Path) -> None:
    (folder / "big").write_bytes(bytes(50_000_000))

    with pytest.raises(BuildFailed, match="big was replaced"):
        async with open_context(lambda: Folder.open(folder), "Dockerfile") as context, tar_stream(context) as blocks:
            async for _ in blocks:
                os.truncate(folder / "big", 10)


async def test_folder_that_grows_while_it_is_sent_is_counted_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_context, "LARGEST_CONTEXT_BYTES", 60_000_000)
    (folder / "rootfs" / "big").write_bytes(bytes(50_000_000))

    with pytest.raises(BuildFailed, match="too large"):
        async with open_context(lambda: Folder.open(folder), "Dockerfile") as context:
            looked = build_context._look_through

            def grow(looked_at: build_context.BuildContext) -> None:
                looked(looked_at)
                (folder / "rootfs" / "big2").write_bytes(bytes(50_000_000))

            monkeypatch.setattr(build_context, "_look_through", grow)
            async with tar_stream(context) as blocks:
                async for _ in blocks:
                    pass


async def test_look_that_takes_too_long_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_context, "LOOKING_S", -1.0)

    with pytest.raises(BuildFailed, match="takes more than"):
        await archived(folder)


def test_images_a_build_starts_from_are_found_in_dockerfile_and_arguments() -> None:
    text = "ARG BUILD_FROM\nFROM $BUILD_FROM\nFROM --platform=linux/amd64 quay.io/tools/go:1 AS tools\n"

    registries = {image.registry for image in base_images(text, {"BUILD_FROM": "ghcr.io/base/amd64:3.20"})}

    assert registries == {"ghcr.io", "quay.io"}
