"""Image names, availability and rating of add-ons."""

import pytest

from rooftree.errors import Invalid
from rooftree_store.addon_config import parse_addon_config
from rooftree_store.assessment import (
    CoreTooOld,
    WrongArchitecture,
    WrongMachine,
    availability,
    image_reference,
    pick_arch,
    rating,
)
from rooftree_store.slugs import RepositorySlug


def config(**keys):
    base = {"name": "Hello", "version": "1", "slug": "hello", "description": "", "arch": ["aarch64", "amd64"]}
    return parse_addon_config(base | keys).config


def test_arch_is_the_hosts_best_that_the_addon_supports():
    assert pick_arch(config(arch=["i386", "amd64"]), ["amd64", "i386"]) == "amd64"
    assert pick_arch(config(arch=["i386"]), ["amd64", "i386"]) == "i386"
    assert pick_arch(config(arch=["aarch64"]), ["amd64", "i386"]) == "amd64"


def test_image_comes_from_the_template_or_from_the_slugs():
    repository = RepositorySlug.parse("local")

    assert image_reference(config(image="x/{arch}-y"), repository, "amd64") == "x/amd64-y"
    assert image_reference(config(), repository, "amd64") == "local/amd64-addon-hello"


def test_image_by_machine_needs_a_machine():
    template = config(image="x/{machine}-{arch}")

    assert image_reference(template, "local", "amd64", machine="green") == "x/green-amd64"
    with pytest.raises(Invalid, match="depends on the machine"):
        image_reference(template, "local", "amd64")


@pytest.mark.parametrize(
    ("wanted", "machine", "available"),
    [
        (["green"], "green", True),
        (["green"], "yellow", False),
        (["green"], None, False),
        (["!green"], "green", False),
        (["!green"], "yellow", True),
        (["!green"], None, True),
        (["!green", "yellow"], "yellow", True),
        (["!green", "yellow"], "tinker", False),
        ([], "green", True),
    ],
)
def test_machine_list_names_what_fits_or_what_does_not(wanted, machine, available):
    reasons = availability(config(machine=wanted), ["amd64"], machine, "2026.1.0")

    assert reasons == ([] if available else [WrongMachine(machine, tuple(wanted))])


def test_every_reason_is_given():
    reasons = availability(
        config(arch=["armv7"], machine=["green"], homeassistant="2026.2.0"), ["amd64"], "yellow", "2026.1.3"
    )

    assert reasons == [
        WrongArchitecture(("armv7",)),
        WrongMachine("yellow", ("green",)),
        CoreTooOld("2026.2.0", "2026.1.3"),
    ]
    assert [str(reason) for reason in reasons] == [
        "it supports armv7 only",
        "it is for green, and this machine is yellow; if it is another, name it as machine in [plugins.store]",
        "it needs Home Assistant 2026.2.0, and 2026.1.3 is installed",
    ]


@pytest.mark.parametrize(
    ("needed", "running", "available"),
    [
        ("2026.2.0", "2026.2.0", True),
        ("2026.2.0", "2026.10.0", True),
        ("2026.2.0", "2026.2.0b1", False),
        ("0.98", "2026.1.0", True),
        ("True", "2026.1.0", True),
        ("2026.2.0", "landingpage", True),
        ("2026.2.0", None, True),
    ],
)
def test_core_version_counts_where_it_can_be_compared(needed, running, available):
    assert (availability(config(homeassistant=needed), ["amd64"], None, running) == []) is available


@pytest.mark.parametrize(
    ("keys", "facts", "expected"),
    [
        ({}, {}, 5),
        ({"apparmor": False}, {}, 4),
        ({"apparmor": False}, {"custom_profile": True}, 4),
        ({}, {"custom_profile": True}, 6),
        ({"ingress": True, "auth_api": True}, {"custom_profile": True, "signed": True}, 8),
        ({"ingress": True}, {}, 7),
        ({"auth_api": True}, {}, 6),
        ({"privileged": ["NET_ADMIN", "SYS_ADMIN"], "kernel_modules": True}, {}, 4),
        ({"privileged": ["SYS_TIME"]}, {}, 5),
        ({"hassio_role": "manager"}, {}, 4),
        ({"hassio_role": "admin"}, {}, 3),
        ({"host_network": True}, {}, 4),
        ({"host_pid": True}, {}, 3),
        ({"host_uts": True}, {}, 5),
        ({"host_uts": True, "privileged": ["SYS_ADMIN"]}, {}, 3),
        ({"docker_api": True, "ingress": True}, {}, 1),
        ({"full_access": True, "ingress": True}, {}, 1),
        ({"apparmor": False, "hassio_role": "admin", "host_pid": True, "host_network": True}, {}, 1),
    ],
)
def test_rating_follows_the_table(keys, facts, expected):
    assert rating(config(**keys), **facts) == expected
