"""Slugs are plain file names, and image names follow their grammar."""

import pytest

from rooftree_store.image_name import base_image, image_template
from rooftree_store.readers import Refused
from rooftree_store.slugs import MAX_SLUG_CHARACTERS, AddonSlug, RepositorySlug


@pytest.mark.parametrize("text", ["local_hello", "core_ssh", "a0d7b954_node-red", "local_a_b", "local_x.y", "local_-"])
def test_full_slug_has_its_parts(text):
    slug = AddonSlug.parse(text)

    assert f"{slug.repository}_{slug.name}" == text
    assert slug.hostname == text.replace("_", "-")


@pytest.mark.parametrize(
    "text",
    ["", "hello", "_x", "local_", "local_.", "local_..", "local_...", "local_a/b", "local_a\n", "local_é", "../x_y",
     "LOCAL_x", "a0d7b95_x", "a0d7b954f_x", "local_" + "x" * (MAX_SLUG_CHARACTERS + 1), "local_a\0"],
)  # fmt: skip
def test_what_is_no_plain_file_name_is_no_slug(text):
    with pytest.raises(ValueError, match="slug"):
        AddonSlug.parse(text)


def test_repository_slug_comes_from_the_configured_address():
    assert RepositorySlug.of("https://github.com/hassio-addons/repository") == "a0d7b954"
    assert RepositorySlug.of("https://github.com/ESPHome/home-assistant-addon") == "5c53de3b"
    assert RepositorySlug.of("https://github.com/music-assistant/home-assistant-addon") == "d5369777"
    assert RepositorySlug.of("local") == "local"
    assert RepositorySlug.of("https://example.com/a#dev") != RepositorySlug.of("https://example.com/a")


@pytest.mark.parametrize(
    "name",
    ["debian", "owner/x", "ghcr.io/owner/{arch}-x", "localhost/x", "localhost:5000/x", "[::1]:5000/x/y", "a.b/c.d_e",
     "{machine}/x", "index.docker.io/owner/x"],
)  # fmt: skip
def test_image_template_is_accepted(name):
    assert image_template(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "x:1", "owner/x:latest", "Ghcr.io/x/y", "ghcr.io/Owner/x", "ghcr.io//x", "ghcr.io/x/", "-x/y", "a b/c",
     "x@sha", "ghcr.io:port/x", ".ghcr.io/x", "a/-b", 5],
)  # fmt: skip
def test_image_template_is_refused(name):
    with pytest.raises(Refused):
        image_template(name)


@pytest.mark.parametrize("name", ["owner/x", "ghcr.io/owner/{arch}-x:1.0", "localhost:5000/a/b/c:d"])
def test_base_image_is_accepted(name):
    assert base_image(name) == name


@pytest.mark.parametrize("name", ["debian", "debian:12", "a/b@sha256:ff", "a/b c", "a/b:", "/b", "a/", "a//b", None])
def test_base_image_is_refused(name):
    with pytest.raises(Refused):
        base_image(name)
