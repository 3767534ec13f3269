"""What registries say becomes the error that names the cause."""

from __future__ import annotations

import pytest

from rooftree.interfaces.containers import (
    EngineDiskFull,
    ImageForOtherPlatform,
    ImageNotFound,
    PullFailed,
    RegistryLoginRefused,
    RegistryRateLimited,
)
from rooftree_docker.image_reference import ImageReference
from rooftree_docker.platforms import Platform
from rooftree_docker.registry_errors import GitHubRateLimited, RegistryUnreachable, pull_error

IMAGE = ImageReference.parse("ghcr.io/someone/thing:1.0")
ARM = Platform("linux", "arm64")


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (429, "whatever", GitHubRateLimited),
        (500, "toomanyrequests: You have reached your pull rate limit.", GitHubRateLimited),
        (0, "received unexpected HTTP status: 429 Too Many Requests", GitHubRateLimited),
        (500, 'error parsing HTTP 429 response body: unexpected end of JSON input: ""', GitHubRateLimited),
        (500, "error parsing HTTP 403 response body: invalid character '<'", RegistryLoginRefused),
        (500, "error parsing HTTP 502 response body: invalid character '<'", RegistryUnreachable),
        (0, "write /var/lib/docker/tmp/x: no space left on device", EngineDiskFull),
        (404, "manifest for ghcr.io/someone/thing:1.0 not found: manifest unknown: manifest unknown", ImageNotFound),
        (404, "pull access denied for thing, repository does not exist or may require 'docker login'", ImageNotFound),
        (500, "no matching manifest for linux/arm64/v8 in the manifest list entries", ImageForOtherPlatform),
        (404, "no match for platform in manifest: not found", ImageForOtherPlatform),
        (500, 'Head "https://ghcr.io/v2/someone/thing/manifests/1.0": unauthorized', RegistryLoginRefused),
        (500, 'Head "https://ghcr.io/v2/someone/thing/manifests/1.0": denied: denied', RegistryLoginRefused),
        (401, "no", RegistryLoginRefused),
        (500, 'Get "https://ghcr.io/v2/": dial tcp 1.2.3.4:443: connect: connection refused', RegistryUnreachable),
        (500, 'Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io: no such host', RegistryUnreachable),
        (500, 'Get "https://ghcr.io/v2/": context deadline exceeded', RegistryUnreachable),
        (500, 'Get "https://ghcr.io/v2/": EOF', RegistryUnreachable),
        (0, "received unexpected HTTP status: 503 Service Unavailable", RegistryUnreachable),
        (500, "Get https://ghcr.io/v2/: x509: certificate signed by unknown authority", PullFailed),
    ],
)
def test_cause_is_told_apart(status: int, text: str, kind: type[Exception]) -> None:
    error = pull_error(IMAGE, status=status, text=text, platform=ARM, has_login=False)

    assert type(error) is kind
    assert "ghcr.io" in error.message


@pytest.mark.parametrize(
    "text",
    [
        "received unexpected HTTP status: 500 Internal Server Error",
        "error parsing HTTP 502 response body: invalid character '<'",
        "the registry answered HTTP 503",
        "unexpected status from GET request to https://ghcr.io/v2/x: 504 Gateway Timeout",
    ],
)
def test_registry_that_is_broken_is_not_called_out_of_reach(text: str) -> None:
    error = pull_error(IMAGE, status=500, text=text, platform=ARM, has_login=False)

    assert isinstance(error, RegistryUnreachable)  # an image that is here may do instead
    assert "something is wrong with itself" in error.message and text in error.message
    assert "cannot be reached" not in error.message


@pytest.mark.parametrize(
    ("image", "key"),
    [
        ("someone/thing:1", "dockerhub_rate_limit_exceeded"),
        ("docker.io/someone/thing:1", "dockerhub_rate_limit_exceeded"),
        ("ghcr.io/someone/thing:1", "ghcr_rate_limit_exceeded"),
        ("registry.example.com/thing:1", "container_registry_rate_limit_exceeded"),
    ],
)
def test_registry_that_is_tired_of_us_has_its_own_key(image: str, key: str) -> None:
    error = pull_error(ImageReference.parse(image), status=429, text="no", platform=ARM, has_login=False)

    assert (error.status, error.error_key) == (429, key)


@pytest.mark.parametrize(
    ("text", "told_s", "wait_s", "when"),
    [
        ("toomanyrequests: retry-after: 718µs, allowed: 44000/minute", None, 718e-6, "asked again in 1 s"),
        ("toomanyrequests: retry-after: 718µs, allowed: 44000/minute", 9.0, 718e-6, "asked again in 1 s"),
        ("toomanyrequests: slow down", 3.0, 3.0, "asked again in 3 s"),
        ("toomanyrequests: slow down", 3600.0, 3600.0, "asked again in 60 minutes"),
        ("toomanyrequests: slow down", None, None, "Wait some hours, or store a login"),
    ],
)
def test_registry_that_is_tired_of_us_is_quoted_and_says_for_how_long(
    text: str, told_s: float | None, wait_s: float | None, when: str
) -> None:
    error = pull_error(IMAGE, status=429, text=text, platform=None, has_login=False, wait_s=told_s)

    assert text in error.message
    assert when in error.message
    assert error.extra_fields.get("wait_s") == (None if wait_s is None else pytest.approx(wait_s))


def test_structured_code_wins_over_the_text() -> None:
    error = pull_error(IMAGE, status=429, text="manifest unknown", platform=ARM, has_login=False)

    assert isinstance(error, RegistryRateLimited)


def test_refused_login_says_which_one_to_correct() -> None:
    with_login = pull_error(IMAGE, status=401, text="no", platform=ARM, has_login=True)
    without = pull_error(IMAGE, status=401, text="no", platform=ARM, has_login=False)

    assert "Correct the stored login" in with_login.message
    assert "Store a login" in without.message


def test_image_for_other_platforms_only_is_refused_by_name() -> None:
    text = "no matching manifest for linux/arm64/v8 in the manifest list entries"

    error = pull_error(IMAGE, status=500, text=text, platform=ARM, has_login=False)

    assert (error.status, error.error_key) == (400, "image_platform_error")
    assert f"{IMAGE} is not made for linux/arm64" in error.message
