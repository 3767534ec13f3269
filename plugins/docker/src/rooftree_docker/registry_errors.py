"""Why a pull failed, in our words.

The engine passes on what the registry said: as an HTTP status before the first layer, or as a code and a text in the
stream. What is structured decides first; the text decides where the engine gives nothing else, which is often.
"""

from __future__ import annotations

import math
import re
from typing import Final

from rooftree.errors import RooftreeError
from rooftree.interfaces.containers import (
    EngineDiskFull,
    ImageForOtherPlatform,
    ImageNotFound,
    PullFailed,
    RegistryLoginRefused,
    RegistryRateLimited,
)
from rooftree_docker.image_reference import DOCKER_HUB, ImageReference
from rooftree_docker.platforms import Platform
from rooftree_docker.retry_after import quoted_seconds


class RegistryUnreachable(PullFailed):
    """No registry answered, or it answered that it is broken: an image that is already here may do instead."""


class DockerHubRateLimited(RegistryRateLimited):
    """Docker Hub answered that we pulled too often."""

    error_key = "dockerhub_rate_limit_exceeded"


class GitHubRateLimited(RegistryRateLimited):
    """GitHub's registry answered that we pulled too often."""

    error_key = "ghcr_rate_limit_exceeded"


MOST_SAID: Final = 2000
"""Characters of what the engine quotes from a registry that are looked at, and told."""
_RATE_LIMITED: Final = {DOCKER_HUB: DockerHubRateLimited, "ghcr.io": GitHubRateLimited}
_QUOTED_STATUS: Final = re.compile(r"HTTP (?:status: )?([45]\d\d)\b")
_RATE_LIMIT: Final = re.compile(r"toomanyrequests|too many requests|rate limit", re.IGNORECASE)
_DISK_FULL: Final = re.compile(r"no space left on device", re.IGNORECASE)
_NOT_FOUND: Final = re.compile(
    r"manifest unknown|manifest for .* not found|name unknown|repository .* not found"
    r"|repository name not known|: not found$|does not exist",
    re.IGNORECASE,
)
_NOT_FOR_PLATFORM: Final = re.compile(r"no matching manifest|no match for platform", re.IGNORECASE)
_LOGIN: Final = re.compile(
    r"unauthorized|authentication required|no basic auth credentials|incorrect username or password|denied|\b401\b",
    re.IGNORECASE,
)
_UNREACHABLE: Final = re.compile(
    r"dial tcp|lookup .*: |no such host|connection refused|connection reset|i/o timeout|handshake timeout"
    r"|timeout exceeded|deadline exceeded|network is unreachable|no route to host|server misbehaving|\bEOF$"
    r"|unexpected EOF|proxyconnect",
    re.IGNORECASE,
)
_BROKEN: Final = re.compile(r"\b50[0234] (?:Bad Gateway|Service|Gateway|Internal)", re.IGNORECASE)


def pull_error(
    image: ImageReference,
    *,
    status: int,
    text: str,
    platform: Platform | None,
    has_login: bool,
    wait_s: float | None = None,
) -> RooftreeError:
    """The error for a refused pull.

    :param status: the HTTP status of the answer, or the ``code`` of an error in the stream; 0 where there is none
    :param text: what the engine said
    :param platform: what the image is to run on; ``None`` where that is not known yet
    :param has_login: whether a stored login was used
    :param wait_s: seconds after which the registry may be asked again, where it has told us; what the engine quotes of
        it counts before that
    """
    said = text[:MOST_SAID].strip()
    if quoted := _QUOTED_STATUS.search(said):
        status = int(quoted[1])  # the registry's own, where the engine's is only a 500
    if status == 429 or _RATE_LIMIT.search(said):
        quoted_s = quoted_seconds(said)
        return _rate_limited(image, said, wait_s if quoted_s is None else quoted_s)
    if _DISK_FULL.search(said):
        return EngineDiskFull(
            f"The container engine has no space left on its disk for {image}. "
            "Free some: remove images and add-ons that are not used."
        )
    if status in {401, 403}:
        return _login_refused(image, said, has_login)
    if _NOT_FOR_PLATFORM.search(said):
        return other_platform(image, platform)
    if status == 404 or _NOT_FOUND.search(said):
        hint = " If it is not public, store a login for the registry." if _LOGIN.search(said) and not has_login else ""
        return ImageNotFound(f"The registry {image.registry} has no image {image}.{hint}", image=str(image))
    if _LOGIN.search(said):
        return _login_refused(image, said, has_login)
    if (quoted and status >= 500) or _BROKEN.search(said):
        return RegistryUnreachable(
            f"The registry {image.registry} answers that something is wrong with itself, and gives no {image}: "
            f"{said}. Try again later."
        )
    if _UNREACHABLE.search(said):
        return unreachable(image, said)
    return PullFailed(f"{image} could not be fetched from {image.registry}: {said or f'status {status}'}")


def other_platform(
    image: ImageReference, platform: Platform | None, made_for: Platform | None = None
) -> ImageForOtherPlatform:
    """The error for an image that is not made for what it is to run on.

    :param made_for: what it is made for; ``None`` where that is several
    """
    others = f"{made_for} only" if made_for else "others only"
    return ImageForOtherPlatform(
        f"The image {image} is not made for {platform or 'this host'}, but for {others}: it could not "
        "run here. Tell whoever offers it, or take a version that is made for it.",
        image=str(image),
    )


def unreachable(image: ImageReference, said: str) -> RegistryUnreachable:
    """The error for a registry that can't be reached."""
    return RegistryUnreachable(
        f"The registry {image.registry} cannot be reached to fetch {image}: {said}. "
        "Check the host's network and name resolution, and try again."
    )


def _rate_limited(image: ImageReference, said: str, wait_s: float | None) -> RegistryRateLimited:
    """:param said: its own words, which tell for how long where ``wait_s`` is not known"""
    when = "Wait some hours" if wait_s is None else f"It may be asked again in {_spoken(wait_s)}: wait as long"
    waits = {} if wait_s is None else {"wait_s": wait_s}
    return _RATE_LIMITED.get(image.registry, RegistryRateLimited)(
        f"The registry {image.registry} refuses to hand out {image}, because it was asked too often. It says: "
        f"{said or 'nothing more'}. {when}, or store a login for it.",
        registry=image.registry,
        **waits,
    )


def _spoken(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 120 else f"{math.ceil(whole / 60)} minutes"


def _login_refused(image: ImageReference, said: str, has_login: bool) -> RegistryLoginRefused:
    advice = "Correct the stored login." if has_login else "Store a login for it."
    what = "the stored login" if has_login else "a pull without login"
    return RegistryLoginRefused(
        f"The registry {image.registry} refused {what} for {image} ({said}). {advice}", registry=image.registry
    )
