"""What the operator may set of the container engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree.settings import SettingsInvalid, load
from rooftree_docker.plugin import DockerSettings


@pytest.mark.parametrize("prefix", ["", "second_", "2nd.", "a" * 40])
def test_prefix_that_containers_can_have_is_taken(prefix: str) -> None:
    assert DockerSettings(prefix=prefix).prefix == prefix


@pytest.mark.parametrize("prefix", ["BAD PREFIX!", "_second", "a/b", "a" * 41, "zwei_ü"])
def test_prefix_that_no_container_can_have_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="such as second_"):
        DockerSettings(prefix=prefix)


@pytest.mark.parametrize("subnet", ["172.30", "172.30.32.1/23", "fd00::/64", "172.30.32.0/29"])
def test_subnet_that_no_network_can_have_is_refused_in_a_sentence(tmp_path: Path, subnet: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"plugins\.docker\.subnet must .*, such as 172\.30\.32\.0/23"):
        settings_in(tmp_path, "[plugins.docker]", f'subnet = "{subnet}"')


def settings_in(folder: Path, *lines: str) -> DockerSettings:
    """What these lines of rooftree.toml set."""
    file = folder / "rooftree.toml"
    file.write_text("\n".join(lines))
    return load(config=file, environ={}, flags={}).section("docker", DockerSettings)


def test_images_that_must_be_signed_are_read(tmp_path: Path) -> None:
    found = settings_in(
        tmp_path,
        "[[plugins.docker.signed_images]]",
        'images = "ghcr.io/acme/"',
        'key = "/etc/rooftree/acme.pub"',
        "[[plugins.docker.signed_images]]",
        'images = "docker.io/library/alpine"',
        'key = "/etc/rooftree/alpine.pub"',
    )

    assert [(entry.images, str(entry.key)) for entry in found.signed_images] == [
        ("ghcr.io/acme/", "/etc/rooftree/acme.pub"),
        ("docker.io/library/alpine", "/etc/rooftree/alpine.pub"),
    ]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (('images = "ghcr.io/acme"', 'key = "acme.pub"'), r"\[0\]: key must be the whole path of a file"),
        (('images = "alpine"', 'key = "/acme.pub"'), r"\[0\]: images must be an image's name without a tag"),
        (('images = "ghcr.io/acme/"',), r"signed_images\[0\].*key"),
        (('images = "ghcr.io/acme/"', 'key = "/acme.pub"', "tag = 1"), r"signed_images\[0\].*tag"),
    ],
)
def test_entry_that_would_protect_nothing_is_refused_by_name(tmp_path: Path, entry: tuple[str, ...], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"line 1.*plugins\.docker\.signed_images.*") as refused:
        settings_in(tmp_path, "[[plugins.docker.signed_images]]", *entry)

    assert refused.match(said)
