"""The steps with images and containers that every domain's jobs are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from attrs import Factory

from rooftree import RooftreeError, Run, Step, step
from rooftree.interfaces.containers import (
    ContainerEngine,
    DataPath,
    ImageNotFound,
    Progress,
    RegistryRateLimited,
)

log = structlog.get_logger(__name__)

LONGEST_WAIT_S: Final = 60.0
"""Seconds within which a registry must be willing again for a job to wait for it; longer is for people to decide."""
WAITS_IN_ALL_S: Final = 180.0
"""Seconds that one step waits for registries."""
SHORTEST_WAIT_S: Final = 1.0
"""Seconds of the first wait at least, and twice as long each time: a registry that counts by the minute says that it
may be asked again in some microseconds, and is then asked by many."""


@step("docker.pull_image/1")
class PullImage(Step):
    """Fetch an image from its registry."""

    image: str
    """Name and tag."""
    digest: str | None = None
    """Which image of that name, ``sha256:…``; ``None`` takes what the registry has under it now."""
    weight = 50
    interruptible = True

    async def before(self, engine: ContainerEngine) -> str | None:
        """The image's id if the engine had it."""
        return await _image_id(engine, self.image)

    async def fetch_bytes(self, engine: ContainerEngine) -> int | None:
        """The whole image, of which the engine may have parts already."""
        return await engine.size_of_pull(self.image)

    async def do(self, run: Run, engine: ContainerEngine) -> None:
        """Fetch it, with progress in bytes."""
        wanted = f"{self.image}@{self.digest}" if self.digest else self.image
        try:
            await fetch(run, self.image, lambda: engine.pull(wanted))
        except ImageNotFound as error:
            if self.digest is None:
                raise
            raise ImageNotFound(
                f"The registry no longer has the image that {self.image} was: {error.message} What it has under that "
                "name now is another one, and is not taken for it. Update what runs it, or install that again",
                image=self.image,
            ) from None

    async def undo(self, image_before: str | None, engine: ContainerEngine) -> None:
        """Take it away, if this brought it."""
        if image_before is None:
            await engine.remove_image(self.image)


@step("docker.build_image/1")
class BuildImage(Step):
    """Build an image from a folder."""

    image: str
    folder: str
    """Relative to the data folder."""
    dockerfile: str
    arguments: Mapping[str, str] = Factory(dict)
    labels: Mapping[str, str] = Factory(dict)
    weight = 50
    interruptible = True

    async def before(self, engine: ContainerEngine) -> str | None:
        """The image's id if the engine had one of that name."""
        return await _image_id(engine, self.image)

    async def fetch_bytes(self) -> int | None:
        """Not known: the image that it is built from, and what its instructions fetch."""
        return None

    async def do(self, run: Run, engine: ContainerEngine) -> None:
        """Build it, with progress in Dockerfile steps."""
        context = DataPath(self.folder)
        build = partial(engine.build, dockerfile=self.dockerfile, arguments=self.arguments, labels=self.labels)
        await fetch(run, self.image, lambda: build(self.image, context))

    async def undo(self, image_before: str | None, engine: ContainerEngine) -> None:
        """Take it away, if there was none of that name."""
        if image_before is None:
            await engine.remove_image(self.image)


@step("docker.remove_image/1")
class RemoveImage(Step):
    """Take an image away, unless a container still uses it. One that stays costs space and nothing else."""

    image: str
    tidies = True

    async def do(self, engine: ContainerEngine) -> None:
        """Take it away."""
        await engine.remove_image(self.image)


@step("docker.keep_image/1")
class KeepImage(Step):
    """Keep an image under a further name, whatever becomes of its own."""

    image: str
    kept: str
    """The further name, which nothing else has."""

    async def before(self, engine: ContainerEngine) -> str | None:
        """The image's id, if it is there."""
        return await _image_id(engine, self.image)

    async def do(self, engine: ContainerEngine) -> None:
        """Name it."""
        with suppress(ImageNotFound):
            await engine.tag_image(self.image, self.kept)

    async def undo(self, image_before: str | None, engine: ContainerEngine) -> None:
        """Let its own name mean it again, and the further one nothing."""
        if image_before is not None and await _image_id(engine, self.image) != image_before:
            await _bring_back(engine, self.image, self.kept)
        await engine.remove_image(self.kept)


@step("docker.use_new_image/1")
class UseNewImage(Step):
    """Go on with the new image that has the name of the one that was kept; what was made of that comes after this."""

    image: str
    kept: str

    async def do(self, engine: ContainerEngine) -> None:
        """See that it is there."""
        if await engine.image(self.image) is None:
            raise ImageNotFound(f"The image {self.image} is gone again; somebody took it away", image=self.image)

    async def undo(self, _: None, engine: ContainerEngine) -> None:
        """Let the name mean the one that was kept, before anything is made of it again."""
        await _bring_back(engine, self.image, self.kept)


@step("docker.bring_back_image/1")
class BringBackImage(Step):
    """Let a name mean the image again that was kept under a further one."""

    image: str
    kept: str

    async def do(self, engine: ContainerEngine) -> None:
        """Name it."""
        await _bring_back(engine, self.image, self.kept)


def told_wait_s(error: RooftreeError) -> float | None:
    """In how many seconds a registry may be asked again, as it says itself; ``None`` where it says nothing of it."""
    told_s = error.extra_fields.get("wait_s") if isinstance(error, RegistryRateLimited) else None
    return told_s if isinstance(told_s, int | float) else None


async def fetch(run: Run, image: str, attempt: Callable[[], AsyncIterator[Progress]]) -> None:
    """Do what fetches an image, with its progress; again where a registry refuses it and says that it may be asked
    again soon: until then the job waits, and shows that.

    :param attempt: begins to fetch it, as :meth:`~rooftree.interfaces.containers.ContainerEngine.pull` does
    """
    waited_s, at_least_s = 0.0, SHORTEST_WAIT_S
    while True:
        try:
            async for progress in attempt():
                run.progress(progress.done, progress.total)
            return
        except RegistryRateLimited as error:
            told_s = told_wait_s(error)
            if told_s is None or told_s > LONGEST_WAIT_S:
                raise
            wait_s = max(told_s, at_least_s)
            if waited_s + wait_s > WAITS_IN_ALL_S:
                raise
            log.info("registry_waited_for", image=image, wait_s=wait_s, reason=error.message)
            await run.wait(wait_s)
            waited_s, at_least_s = waited_s + wait_s, at_least_s * 2


async def _bring_back(engine: ContainerEngine, image: str, kept: str) -> None:
    with suppress(ImageNotFound):  # it was gone already when it was to be kept
        await engine.tag_image(kept, image)


async def _image_id(engine: ContainerEngine, image: str) -> str | None:
    on_engine = await engine.image(image)
    return on_engine.id if on_engine is not None else None
