"""Home Assistant OS, told by its CPE name."""

from __future__ import annotations

import pytest

from rooftree_machine.home_assistant_os import HomeAssistantOs
from tests.bus.os_machine import CPE


@pytest.mark.parametrize(
    ("cpe", "found"),
    [
        (CPE.format(version="16.0", board="ova"), HomeAssistantOs("16.0", "ova")),
        (CPE.format(version="4.3", board="intel-nuc"), HomeAssistantOs("4.3", "generic-x86-64")),
        (CPE.replace("haos", "hassos").format(version="5.0", board="rpi4-64"), HomeAssistantOs("5.0", "rpi4-64")),
        (CPE.format(version=r"16.0", board=r"generic\-x86\-64"), HomeAssistantOs("16.0", "generic-x86-64")),
        ("cpe:2.3:o:debian:debian_linux:12:*:*:*:*:*:*:*", None),
        (CPE.format(version="*", board="ova"), None),
        ("cpe:/o:home-assistant:haos:16.0", None),
        ("", None),
    ],
)
def test_system_is_recognised_by_its_cpe_name(cpe: str, found: HomeAssistantOs | None) -> None:
    assert HomeAssistantOs.from_cpe(cpe) == found


@pytest.mark.parametrize(
    ("version", "needed", "enough"),
    [
        ("16.0", "15.0", True),
        ("15.0", "15.0", True),
        ("14.2", "15.0", False),
        ("15.0.rc1", "15.0", False),
        ("10.3", "9.5", True),
        ("16.0.dev20250101", "15.0", True),
        ("unheard of", "15.0", True),
    ],
)
def test_version_is_enough_unless_a_later_one_is_certainly_needed(version: str, needed: str, enough: bool) -> None:
    assert HomeAssistantOs(version, "ova").is_at_least(needed) is enough


@pytest.mark.parametrize(("version", "major"), [("16.2", 16), ("9.5.rc1", 9), ("dev", 0), ("", 0), ("x.1", 0)])
def test_major_release_is_the_first_number(version: str, major: int) -> None:
    assert HomeAssistantOs(version, "ova").major == major
