"""The engine's images: fetched, built, named and taken away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

import aiohttp
import structlog
from aiodocker.exceptions import DockerError, DockerStreamError
from attrs import evolve

from rooftree.errors import RooftreeError, Unavailable
from rooftree.interfaces.containers import (
    BuildFailed,
    DataPath,
    EngineDiskFull,
    EngineUnavailable,
    HostPath,
    Image,
    ImageImportRefused,
    ImageNotFound,
    Progress,
    RegistryRateLimited,
)
from rooftree_docker import manifest_check
from rooftree_docker.build_context import BuildContext, base_images, build_context, tar_stream
from rooftree_docker.build_labels import with_labels
from rooftree_docker.build_output import BuildOutput
from rooftree_docker.data_folder import DataFolder
from rooftree_docker.dockerfile import ImageUsed, images_used
from rooftree_docker.engine_client import Deadlines, EngineClient, Json, json_lines
from rooftree_docker.image_exports import export_image, load_image, refuse_other_names
from rooftree_docker.image_reference import AuthInfo, ImageReference, login_header, logins_header
from rooftree_docker.inspection import image_of, made_for
from rooftree_docker.platform_arguments import with_platforms
from rooftree_docker.platforms import Platform
from rooftree_docker.pull_progress import PullProgress
from rooftree_docker.pull_size import size_of_pull
from rooftree_docker.registry import AnswerRefused, RegistryError, registry_of
from rooftree_docker.registry_errors import RegistryUnreachable, other_platform, pull_error, unreachable
from rooftree_docker.signatures import SETTING, SignaturePolicy, signed_digest
from rooftree_docker.specification import Naming
from rooftree_files.dockerfile import ImageNotTold

log = structlog.get_logger(__name__)

type PullReport = Callable[[str, RegistryRateLimited | None], None]
"""Told of each pull: from which registry, and whether it refused because it was asked too often."""


class Images:
    """The images of one engine.

    :param login_for: the stored login for a registry's host name, asked at each pull and build
    :param policy: which images must be signed
    """

    def __init__(
        self,
        client: EngineClient,
        deadlines: Deadlines,
        naming: Naming,
        folder: DataFolder,
        login_for: Callable[[str], AuthInfo | None],
        report_pull: PullReport,
        policy: SignaturePolicy,
    ) -> None:
        self._client = client
        self._deadlines = deadlines
        self._naming = naming
        self._folder = folder
        self._login_for = login_for
        self._report_pull = report_pull
        self._policy = policy

    async def pull(self, image: str, *, platform: str | None = None) -> AsyncGenerator[Progress]:
        """Fetch ``name:tag`` from its registry; where it must be signed, what is signed and nothing else.

        When the registry cannot be reached and the engine has that very image already, that counts as fetched: a home
        without internet starts what it has.
        """
        async with aclosing(self._fetch(ImageReference.parse(image), platform)) as messages:
            async for progress in messages:
                yield progress

    async def _fetch(
        self, reference: ImageReference, platform: str | None, *, any_platform: bool = False
    ) -> AsyncGenerator[Progress]:
        """:param any_platform: whether an image that is made for another platform will do"""
        try:
            async with aclosing(self._pull(reference, platform, any_platform)) as messages:
                async for progress in messages:
                    yield progress
        except RegistryUnreachable as error:
            local = await self.find(str(reference))
            wanted = await self._platform(platform, f"fetch {reference}")
            if local is None or not (any_platform or wanted.runs(made_for(local))):
                raise
            log.warning("registry_unreachable_local_image_used", image=str(reference), reason=str(error))
            yield Progress(done=local.size, total=local.size)

    async def size_of_pull(self, image: str, *, platform: str | None = None) -> int | None:
        """Bytes that a pull fetches at most, as the registry tells; ``None`` if it doesn't, or the engine is away."""
        reference = ImageReference.parse(image)
        try:
            wanted = await self._platform(platform, "tell its platform")
        except Unavailable:
            return None
        return await size_of_pull(reference, wanted, self._login_for(reference.registry))

    async def _platform(self, given: str | None, doing: str) -> Platform:
        """The platform that is given, else the engine's own."""
        if given is not None:
            return Platform.parse(given)
        version = await self._client.version(doing)
        return Platform(version["Os"], version["Arch"])

    async def _looked_at(
        self, reference: ImageReference, platform: Platform, any_platform: bool, login: AuthInfo | None
    ) -> tuple[ImageReference, float | None]:
        """The image by the digest of what its registry shows us, or as it is where the registry shows us nothing; and
        the seconds after which the registry may be asked again, if it refuses us for being asked too often.

        Raises :class:`~rooftree_docker.manifest_check.ManifestRefused`, and
        :class:`~rooftree.interfaces.containers.ImageForOtherPlatform` unless ``any_platform`` will do.
        """
        wanted = reference.digest or reference.tag or "latest"
        try:
            async with registry_of(reference, login, self._deadlines.registry) as registry:
                manifest = await manifest_check.checked_manifest(registry, wanted, platform)
        except AnswerRefused as error:
            raise manifest_check.refused(reference, error) from None
        except (RegistryError, aiohttp.ClientError, OSError, ValueError) as error:  # of which TimeoutError is one
            log.info("registry_left_to_engine", image=str(reference), reason=str(error) or type(error).__name__)
            return reference, getattr(error, "wait_s", None)
        if not any_platform and manifest.made_for is not None and not platform.runs(manifest.made_for):
            raise other_platform(reference, platform, manifest.made_for)
        return (evolve(reference, digest=manifest.digest) if manifest.digest else reference), None

    async def _pull(self, image: ImageReference, given: str | None, any_platform: bool) -> AsyncGenerator[Progress]:
        login = self._login_for(image.registry)
        platform: Platform | None = None  # the engine is asked for nothing before a signature holds
        wait_s: float | None = None

        def refused(status: int, text: str) -> RooftreeError:
            error = pull_error(
                image, status=status, text=text, platform=platform, has_login=login is not None, wait_s=wait_s
            )
            if isinstance(error, RegistryRateLimited):
                self._report_pull(image.registry, error)
            return error

        def explain(error: DockerError) -> RooftreeError:
            detail: Mapping[str, object] = getattr(error, "error_detail", {})
            code = detail.get("code")
            return refused(code if isinstance(code, int) else error.status, error.message)

        reference = image
        if keys := self._policy.keys_for(image):
            try:
                async with registry_of(image, login, self._deadlines.registry) as registry:
                    digest = await signed_digest(registry, image, keys)
            except (RegistryError, aiohttp.ClientSSLError, ValueError) as error:
                wait_s = getattr(error, "wait_s", None)
                raise refused(getattr(error, "status", 0), str(error)) from error
            except (aiohttp.ClientError, OSError) as error:  # of which TimeoutError is one
                raise unreachable(image, str(error) or f"no answer for {self._deadlines.registry:g} s") from error
            reference = evolve(image, digest=digest)
        platform = await self._platform(given, f"fetch {image}")
        reference, wait_s = await self._looked_at(reference, platform, any_platform, login)
        params = {"fromImage": reference.name, "tag": reference.digest or reference.tag or "latest"}
        if platform.asked:
            params["platform"] = platform.asked
        fetched = f"{reference.name}@{reference.digest}" if reference.digest else f"{reference.name}:{reference.tag}"
        earlier = await self.find(fetched, f"fetch {image}")
        headers = {"X-Registry-Auth": login_header(reference.registry, login)} if login else {}
        state = PullProgress()
        stream = self._client.stream(
            f"fetch {image}",
            "POST",
            "images/create",
            params=params,
            headers=headers,
            deadline=self._deadlines.stall,
            explain=explain,
        )
        try:
            async with stream as response:
                async for message in json_lines(response, self._deadlines.stall):
                    if "error" in message or "errorDetail" in message:
                        raise _stream_error(message)
                    progress = state.feed(message)
                    if progress is not None:
                        yield progress
        except EngineUnavailable as error:
            if not isinstance(error.__cause__, TimeoutError) or not await self._answers():
                raise
            raise RegistryUnreachable(
                f"The registry {image.registry} sent nothing of {image} for {self._deadlines.stall:g} s. "
                "Check the host's network, and try again later."
            ) from error
        self._report_pull(image.registry, None)
        if not any_platform:
            await self._refuse_other_platform(image, fetched, platform, earlier)
        if reference.digest and reference.tag:  # the engine gives what is fetched by digest no name
            await self.tag(fetched, f"{reference.name}:{reference.tag}")
        yield state.finished()

    async def _refuse_other_platform(
        self, image: ImageReference, name: str, platform: Platform, earlier: Image | None
    ) -> None:
        """Raise :class:`ImageForOtherPlatform` for what came under a name and is made for another platform.

        It is taken away again, and the name is what it was.

        :param earlier: what had the name before
        """
        came = await self.find(name)
        if came is None or platform.runs(made_for(came)):
            return
        if earlier is None or earlier.id != came.id:
            await self.remove(name)
            if earlier is not None:
                await self.tag(earlier.id, name)
        raise other_platform(image, platform, made_for(came))

    async def build(
        self,
        image: str,
        context: DataPath | HostPath,
        *,
        dockerfile: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        platform: str | None = None,
    ) -> AsyncGenerator[Progress]:
        """Build ``name:tag`` from a folder, with the engine's own builder. Raises :class:`BuildFailed`.

        The images that it is built from are fetched before, as every image is: the builder takes what is here.
        """
        reference = ImageReference.parse(image)
        async with (
            build_context(lambda: self._folder.open(context), dockerfile) as opened,
            aclosing(self._build(reference, opened, arguments, labels, platform)) as building,
        ):
            async for progress in building:
                yield progress

    async def _build(
        self,
        reference: ImageReference,
        context: BuildContext,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        platform: str | None,
    ) -> AsyncGenerator[Progress]:
        own = await self._platform(None, f"build {reference}")
        wanted, earlier = Platform.parse(platform) if platform else own, await self.find(str(reference))
        context, arguments = await asyncio.to_thread(with_platforms, context, arguments, wanted, own)
        context, labels = with_labels(context, labels)
        for base in await asyncio.to_thread(self._images_of, context, arguments):
            if not self._policy.keys_for(base.reference) and await self.find(str(base.reference)) is not None:
                continue
            fetching = self._fetch(base.reference, base.platform or platform, any_platform=True)  # to copy from, maybe
            async with aclosing(fetching):
                async for _ in fetching:
                    pass  # a build's progress is told in its own steps
        params = {
            "t": str(reference),
            "dockerfile": context.dockerfile,
            "buildargs": _json(arguments),
            "labels": _json(self._naming.image_labels(labels)),  # whose it is, whatever the Dockerfile says
            "rm": "1",
            "forcerm": "1",
            "version": "1",  # the classic builder: it needs nothing but the engine
        }
        if platform:
            params["platform"] = platform
        headers = {"Content-Type": "application/x-tar"}
        registries = {base.registry for base in await asyncio.to_thread(base_images, context.text, arguments)}
        logins = {registry: login for registry in registries if (login := self._login_for(registry))}
        if logins:
            headers["X-Registry-Config"] = logins_header(logins)
        output = BuildOutput()
        end = time.monotonic() + self._deadlines.build

        def explain(error: DockerError) -> RooftreeError:
            told = output.failed(error.message)
            if "no space left on device" in told.lower():  # the engine's word, or that of a program in the build
                return EngineDiskFull(
                    f"The container engine has no space left on its disk to build {reference}. "
                    "Free some: remove images and add-ons that are not used."
                )
            foreign = f" What it is built on is not made for {wanted}." if "exec format error" in told else ""
            return BuildFailed(f"Building {reference} failed{told}{foreign}")

        async with tar_stream(context) as archive:
            stream = self._client.stream(
                f"build {reference}",
                "POST",
                "build",
                params=params,
                headers=headers,
                body=archive,
                deadline=self._deadlines.stall,
                explain=explain,
            )
            async with stream as response:
                async for message in json_lines(response, min(self._deadlines.stall, self._deadlines.build)):
                    if time.monotonic() > end:  # leaving ends it: the builder goes on only while it is listened to
                        raise BuildFailed(
                            f"Building {reference} did not end within {self._deadlines.build:g} s, and was ended"
                            f"{output.failed('')}. Where it has to take longer, set build in [plugins.docker.deadlines]"
                        )
                    if "error" in message or "errorDetail" in message:
                        raise _stream_error(message)
                    for progress in output.feed(message):
                        yield progress
        await self._refuse_other_platform(reference, str(reference), wanted, earlier)
        for progress in output.finished():
            yield progress

    def _images_of(self, context: BuildContext, arguments: Mapping[str, str]) -> set[ImageUsed]:
        """Those that a build uses. Raises :class:`BuildFailed` where it cannot be told whether they must be signed."""
        try:
            return images_used(context.text, arguments, all_told=bool(self._policy.entries))
        except ImageNotTold as error:
            raise BuildFailed(
                f"Which image {context.dockerfile} means by {str(error)!r} cannot be told, and so neither whether it "
                f"may be fetched nor whether it must be signed ({SETTING} in rooftree.toml). Write its name out, or "
                "use arguments that ARG names above the first FROM."
            ) from None

    async def find(self, image: str, doing: str | None = None) -> Image | None:
        """What the engine has under ``name:tag``, or ``None``.

        :param doing: what that is for, where an engine that does not answer is told of
        """
        reference = ImageReference.parse(image)
        async with self._client.call(doing or f"describe the image {image}") as docker:
            try:
                return image_of(await docker.images.inspect(str(reference)))
            except DockerError as error:
                if error.status == 404:
                    return None
                raise

    async def tag(self, image: str, further: str) -> None:
        """Give an image another name too."""
        name = ImageReference.parse(further)
        async with self._client.call(f"name the image {image} {further}", deadline=self._deadlines.change) as docker:
            try:
                await docker.images.tag(str(ImageReference.parse(image)), name.name, tag=name.tag)
            except DockerError as error:
                if error.status == 404:
                    raise ImageNotFound(f"The container engine has no image {image}", image=image) from None
                raise

    async def remove(self, image: str) -> bool:
        """Take ``name:tag`` away. ``False`` when it was not there, a container still uses it, or another Rooftree
        on this engine built it."""
        reference = ImageReference.parse(image)
        details = await self.find(image)
        if details is None or self._naming.is_another_ones_image(details.labels):
            return False
        doing = f"remove the image {image}"
        async with self._client.call(doing, deadline=self._deadlines.change) as docker:
            try:
                await docker.images.delete(str(reference))
            except DockerError as error:
                if error.status in {404, 409}:
                    return False
                raise
        return True

    async def export(self, image: str, file: Path) -> None:
        """Write an image into a file that is made by this."""
        await export_image(self._client, self._deadlines, ImageReference.parse(image), file)

    async def import_from(self, image: str, file: Path) -> None:
        """Take an image over from such a file; raises :class:`ImageImportRefused` for one that must be signed: what
        lies in a file can't be held against a signature."""
        reference = ImageReference.parse(image)
        if self._policy.keys_for(reference):
            raise ImageImportRefused(
                f"The image {image} must be signed ({SETTING}), which an export of it can't show; let it be fetched "
                "from its registry",
                image=image,
            )
        platform = await self._platform(None, f"import {image}")
        await asyncio.to_thread(refuse_other_names, file, reference)
        earlier = await self.find(image)
        await load_image(self._client, self._deadlines, file, reference)
        await self._refuse_other_platform(reference, str(reference), platform, earlier)

    async def remove_nameless(self) -> int:
        """Take away what we built and nothing refers to any more, such as the older of two builds of one name; the
        bytes that came free."""
        filters = {"dangling": ["true"], "label": [self._naming.image_filter]}
        async with self._client.call("remove images without a name", deadline=self._deadlines.change) as docker:
            pruned = await docker._query_json("images/prune", method="POST", params={"filters": _json(filters)})
        return int(pruned.get("SpaceReclaimed") or 0)

    async def _answers(self) -> bool:
        """Whether the engine itself is well."""
        try:
            await self._client.ping()
        except EngineUnavailable:
            return False
        return True


def _json(value: object) -> str:
    return json.dumps(value)


def _stream_error(message: Json) -> DockerStreamError:
    detail = message.get("errorDetail")
    detail = detail if isinstance(detail, dict) else {}
    text = detail.get("message") or message.get("error") or "the engine did not say why"
    return DockerStreamError(str(text), error_detail=detail)
