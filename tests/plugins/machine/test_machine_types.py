"""What architectures and machines are called."""

from __future__ import annotations

import pytest

from rooftree_machine.machine_types import generic_machine, host_architecture, machine_of_board


@pytest.mark.parametrize(
    ("processor", "architecture"),
    [
        ("x86_64", "amd64"),
        ("AMD64", "amd64"),
        ("aarch64", "aarch64"),
        ("arm64", "aarch64"),
        ("armv7l", "armv7"),
        ("armv6l", "armhf"),
        ("i686", "i386"),
        ("i386", "i386"),
        ("riscv64", "riscv64"),
    ],
)
def test_architecture_has_its_own_name_for_each_processor(
    monkeypatch: pytest.MonkeyPatch, processor: str, architecture: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: processor)

    assert host_architecture() == architecture


@pytest.mark.parametrize(
    ("architecture", "machine"),
    [("amd64", "generic-x86-64"), ("aarch64", "generic-aarch64"), ("armv7", "armv7")],
)
def test_machine_of_which_only_the_architecture_is_known_is_a_generic_one(architecture: str, machine: str) -> None:
    assert generic_machine(architecture) == machine


@pytest.mark.parametrize(
    ("board", "machine"),
    [
        ("rpi4-64", "raspberrypi4-64"),
        ("rpi3", "raspberrypi3"),
        ("rpi", "raspberrypi"),
        ("odroid-xu4", "odroid-xu"),
        ("rpi0-w", "raspberrypi"),
        ("ova", "qemux86-64"),
        ("green", "green"),
        ("generic-x86-64", "generic-x86-64"),
    ],
)
def test_machine_has_its_own_name_for_each_board(board: str, machine: str) -> None:
    assert machine_of_board(board) == machine
