"""Which images must be signed, and by whom, as the operator says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree_docker.image_reference import ImageReference
from rooftree_docker.signatures import SignaturePolicy, SignedImages
from tests.plugins.docker.shelf import DIGEST


def entry(images: str, key: str = "/keys/acme.pub") -> SignedImages:
    return SignedImages(images=images, key=Path(key))


@pytest.mark.parametrize(
    ("images", "covered", "free"),
    [
        ("ghcr.io/acme/", ["ghcr.io/acme/a:1", "GHCR.IO/acme/a/b"], ["ghcr.io/acme:1", "ghcr.io/acmes/a", "acme/a"]),
        ("ghcr.io/acme/a", ["ghcr.io/acme/a", f"ghcr.io/acme/a:2@{DIGEST}"], ["ghcr.io/acme/a/b", "ghcr.io/acme/ab"]),
        ("ghcr.io/", ["ghcr.io/x/y"], ["ghcr.io.evil.example/x", "docker.io/ghcr.io/x"]),
        ("docker.io/acme/", ["acme/a", "docker.io/acme/a", "index.docker.io/acme/a"], ["acme", "ghcr.io/acme/a"]),
        ("docker.io/library/alpine", ["alpine", "docker.io/alpine:3", "library/alpine"], ["acme/alpine"]),
        ("docker.io/", ["alpine", "acme/a:1", "index.docker.io/alpine"], ["ghcr.io/acme/a", "localhost/a"]),
        ("127.0.0.1:5000/acme/", ["127.0.0.1:5000/acme/a:1"], ["127.0.0.1:5001/acme/a:1"]),
    ],
)
def test_images_are_covered_however_their_name_is_written(images: str, covered: list[str], free: list[str]) -> None:
    policy = SignaturePolicy((entry(images),))

    assert [name for name in covered if not policy.keys_for(ImageReference.parse(name))] == []
    assert [name for name in free if policy.keys_for(ImageReference.parse(name))] == []


def test_the_longest_name_decides_and_equal_ones_all_count() -> None:
    policy = SignaturePolicy(
        (entry("ghcr.io/", "/any"), entry("ghcr.io/acme/", "/acme"), entry("ghcr.io/acme/", "/next"))
    )

    assert policy.keys_for(ImageReference.parse("ghcr.io/acme/a:1")) == (Path("/acme"), Path("/next"))
    assert policy.keys_for(ImageReference.parse("ghcr.io/other/a:1")) == (Path("/any"),)
    assert policy.keys_for(ImageReference.parse("other/a:1")) == ()


@pytest.mark.parametrize(
    "images",
    ["", "/", "ghcr.io", "ghcr.io/acme:1", f"ghcr.io/acme@{DIGEST}", "acme/hello", "acme/", "alpine",
     "docker.io/alpine", "index.docker.io/acme/", "GHCR.io/acme/", "https://ghcr.io/acme/", "ghcr.io/acme/*",
     "ghcr.io//", "ghcr.io/Acme/"],
)  # fmt: skip
def test_names_that_would_cover_nothing_are_refused(images: str) -> None:
    with pytest.raises(ValueError, match=r"the registry first: ghcr.io/acme/hello, ghcr.io/acme/"):
        entry(images)


def test_key_must_be_a_whole_path() -> None:
    with pytest.raises(ValueError, match="must be the whole path of a file"):
        entry("ghcr.io/acme/", "acme.pub")
