"""Image names are taken apart as the engine does it."""

from __future__ import annotations

import base64
import json

import pytest

from rooftree.errors import Invalid
from rooftree_docker.image_reference import AuthInfo, ImageReference, login_header


@pytest.mark.parametrize(
    ("text", "registry", "name", "tag"),
    [
        ("busybox", "docker.io", "busybox", "latest"),
        ("homeassistant/amd64-addon-ssh:9.1", "docker.io", "homeassistant/amd64-addon-ssh", "9.1"),
        ("ghcr.io/hassio-addons/base/amd64:1.0", "ghcr.io", "ghcr.io/hassio-addons/base/amd64", "1.0"),
        ("127.0.0.1:5000/hello:1", "127.0.0.1:5000", "127.0.0.1:5000/hello", "1"),
        ("localhost/hello", "localhost", "localhost/hello", "latest"),
    ],
)
def test_registry_name_and_tag_are_found(text: str, registry: str, name: str, tag: str) -> None:
    reference = ImageReference.parse(text)

    assert (reference.registry, reference.name, reference.tag) == (registry, name, tag)


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("busybox:1", "docker.io/library/busybox"),
        ("docker.io/busybox", "docker.io/library/busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox"),
        ("docker.io", "docker.io/library/docker.io"),
        ("someone/thing", "docker.io/someone/thing"),
        ("GHCR.io/a/b/c:1", "ghcr.io/a/b/c"),
        ("localhost/hello", "localhost/hello"),
        ("127.0.0.1:5000/hello:1@sha256:" + "0" * 64, "127.0.0.1:5000/hello"),
    ],
)
def test_names_that_mean_the_same_are_completed_to_one(text: str, repository: str) -> None:
    assert ImageReference.parse(text).repository == repository


def test_digest_needs_no_tag() -> None:
    reference = ImageReference.parse("ghcr.io/a/b@sha256:" + "0" * 64)

    assert reference.tag is None
    assert str(reference).endswith("0" * 64)


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a b", "../containers/x", "a/../b", "a:b:c", "x?force=1", "a%2fb", "name:", "http://a/b"]
)
def test_what_is_no_image_name_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="not the name of an image"):
        ImageReference.parse(text)


def test_login_is_encoded_for_the_engine_and_never_printed() -> None:
    login = AuthInfo("me", "s3cret")

    sent = json.loads(base64.urlsafe_b64decode(login_header("docker.io", login)))

    assert sent == {"username": "me", "password": "s3cret", "serveraddress": "https://index.docker.io/v1/"}
    assert "s3cret" not in repr(login)
