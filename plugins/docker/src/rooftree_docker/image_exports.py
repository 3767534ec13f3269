"""Images that go along in files: written out of the engine, and taken over from one that a stranger may have made.

The engine gives what it loads every name that stands in the file, in the place of what has that name. So the names are
read before, in each of the three places in which engines write them, and a file with any other is refused.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import structlog
from aiodocker.exceptions import DockerError

from rooftree.errors import Invalid, RooftreeError
from rooftree.interfaces.containers import ImageImportRefused, ImageNotFound
from rooftree_docker.engine_client import Deadlines, EngineClient, blocks, json_lines, refusal
from rooftree_docker.image_reference import ImageReference

log = structlog.get_logger(__name__)

MOST_MEMBERS: Final = 10_000
"""An export has four for each layer, and an image at most 127 layers."""
MOST_DESCRIPTION_BYTES: Final = 4 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024
_NOT_AS_DESCRIBED: Final = (ValueError, TypeError, AttributeError, KeyError)
"""What reading JSON raises that is none, or has something else where names should be."""
_NAME_ANNOTATION: Final = "io.containerd.image.name"


async def export_image(client: EngineClient, deadlines: Deadlines, image: ImageReference, file: Path) -> None:
    """Write an image into a file as it comes. Raises :class:`ImageNotFound`."""
    doing = f"export the image {image}"

    def explain(error: DockerError) -> RooftreeError:
        if error.status == 404:
            return ImageNotFound(f"The container engine has no image {image}", image=str(image))
        return refusal(doing)(error)

    stream = client.stream(doing, "GET", f"images/{image}/get", params={}, deadline=deadlines.stall, explain=explain)
    with await asyncio.to_thread(open, file, "xb", buffering=0) as target:  # ours: the caller's own folder
        async with stream as response:
            async for block in blocks(response, deadlines.stall):
                await asyncio.to_thread(_write, target, block)


def _write(target: BinaryIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[target.write(rest) :]


async def load_image(client: EngineClient, deadlines: Deadlines, file: Path, image: ImageReference) -> None:
    """Have the engine load a file whose names were looked at. Raises :class:`ImageImportRefused`."""
    doing = f"import the image {image}"

    def explain(error: DockerError) -> RooftreeError:
        return refusal(doing)(error) if error.status >= 500 else _refused(image, error.message)

    with await asyncio.to_thread(open, file, "rb", buffering=0) as source:  # ours: the caller's own folder
        stream = client.stream(
            doing,
            "POST",
            "images/load",
            params={"quiet": "1"},
            headers={"Content-Type": "application/x-tar"},
            body=_blocks(source),
            deadline=deadlines.build,
            explain=explain,
        )
        async with stream as response:
            async for message in json_lines(response, deadlines.stall):
                if "error" in message:
                    raise _refused(image, str(message["error"]))


async def _blocks(source: BinaryIO) -> AsyncIterator[bytes]:
    while block := await asyncio.to_thread(source.read, _BLOCK_BYTES):
        yield block


def refuse_other_names(file: Path, image: ImageReference) -> None:
    """Raise :class:`ImageImportRefused` for a file that is no export, or has another name in it. Blocks."""
    try:
        with tarfile.open(file, "r:") as archive:  # ours: the caller's own folder
            names = {_completed(name) for description in _descriptions(archive) for name in description}
    except (tarfile.TarError, OSError, Invalid, RecursionError, *_NOT_AS_DESCRIBED) as error:
        raise _refused(image, f"it can't be read ({error})") from None
    strange_names = names - {_completed(str(image))}
    if strange_names or not names:
        raise _refused(image, f"it holds {', '.join(sorted(strange_names)) or 'an image without a name'}")


def _descriptions(archive: tarfile.TarFile) -> Iterator[Iterator[str]]:
    """The names in each of the files that describe an export (OCI image layout; Docker's own, which was there before).
    Of files that are there twice, every one."""
    for number, member in enumerate(archive):
        if number >= MOST_MEMBERS:
            raise ValueError(f"it has more than {MOST_MEMBERS} members")
        read = _READERS.get(member.name.removeprefix("./"))
        if read is None:
            continue
        if not member.isreg() or member.size > MOST_DESCRIPTION_BYTES:
            raise ValueError(f"its {member.name} is no small file")
        content = archive.extractfile(member)
        yield read(json.loads(content.read() if content else b""))


def _names_of_manifest(images: list[Mapping[str, Any]]) -> Iterator[str]:
    for image in images:
        yield from image.get("RepoTags") or ()


def _names_of_index(index: Mapping[str, Any]) -> Iterator[str]:
    for manifest in index["manifests"]:
        annotations = manifest.get("annotations") or {}
        if _NAME_ANNOTATION in annotations:
            yield annotations[_NAME_ANNOTATION]


def _names_of_repositories(repositories: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, tags in repositories.items():
        for tag in tags:
            yield f"{name}:{tag}"


_READERS: Final[Mapping[str, Callable[[Any], Iterator[str]]]] = {
    "manifest.json": _names_of_manifest,
    "index.json": _names_of_index,
    "repositories": _names_of_repositories,
}


def _completed(name: str) -> str:
    reference = ImageReference.parse(name)
    return f"{reference.repository}:{reference.tag}"


def _refused(image: ImageReference, reason: str) -> ImageImportRefused:
    return ImageImportRefused(f"The file is no export of the image {image}: {reason}", image=str(image))
