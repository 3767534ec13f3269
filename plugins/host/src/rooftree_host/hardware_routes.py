"""The routes of Hardware. Their answers are kept until something changes."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from rooftree import Role, Routes, role
from rooftree.interfaces.callers import OBSERVER
from rooftree.interfaces.hardware import Device, Hardware
from rooftree_host.drives import Drive, Drives
from rooftree_host.sound_cards import SoundDevices, sound_devices

routes = Routes()


@frozen
class HardwareInfo:
    """The devices of the host, and its drives."""

    devices: Sequence[Device]
    drives: Sequence[Drive]


@frozen
class HardwareAudio:
    """The sound devices of the host."""

    audio: SoundDevices


def info_revision(hardware: Hardware, drives: Drives) -> str:
    """Changes with what is known of either."""
    return f"{hardware.revision}.{drives.revision}"


@routes.get("/hardware/info", access=role(Role.DEFAULT) | OBSERVER, revision=info_revision)
async def info(hardware: Hardware, drives: Drives) -> HardwareInfo:
    """The devices of the host, and its drives with the file systems on them. Without UDisks2 no drives are known."""
    return HardwareInfo(hardware.devices(), await drives.drives())


def audio_revision(hardware: Hardware) -> str:
    """Changes with the devices."""
    return hardware.revision


@routes.get("/hardware/audio", access=role(Role.MANAGER), revision=audio_revision)
async def audio(hardware: Hardware) -> HardwareAudio:
    """The inputs and outputs of the host's sound cards, by card and device: ``{"1,0": "HDA Intel PCH: HDMI 0"}``."""
    return HardwareAudio(await sound_devices(hardware.devices()))
