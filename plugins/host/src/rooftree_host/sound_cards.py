"""Sound devices of the host, as ALSA numbers them.

Which there are is known from the devices (``pcmC1D0p``: card 1, device 0, playback); what they are called is in
``/proc/asound``, see https://docs.kernel.org/sound/designs/procfile.html. In a container that folder is usually masked,
and they have numbers for names.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree.interfaces.hardware import Device

ASOUND: Final = Path("/proc/asound")
_PCM: Final = re.compile(r"pcmC(\d+)D(\d+)([pc])")
_CARD_LINE: Final = re.compile(r"^ *(\d+) \[[^]]*\]: .*? - (.+)$", re.MULTILINE)
_PCM_LINE: Final = re.compile(r"^(\d+)-(\d+): (.*?) : (.*?) : ", re.MULTILINE)


@frozen
class SoundDevices:
    """Names of inputs and outputs by card and device: ``{"0,0": "HDA Intel PCH: ALC892 Analog"}``."""

    input: Mapping[str, str]
    output: Mapping[str, str]


async def sound_devices(devices: Iterable[Device], asound: Path = ASOUND) -> SoundDevices:
    """The sound devices among the host's devices."""
    names = await asyncio.to_thread(_names, asound)
    by_direction: dict[str, dict[str, str]] = {"c": {}, "p": {}}
    for device in devices:
        match = _PCM.fullmatch(device.name) if device.subsystem == "sound" else None
        if match is not None:
            card, number, direction = match.groups()
            name = names.get((int(card), int(number)), f"Card {card}, device {number}")
            by_direction[direction][f"{card},{number}"] = name
    return SoundDevices(input=_sorted(by_direction["c"]), output=_sorted(by_direction["p"]))


def _names(asound: Path) -> dict[tuple[int, int], str]:
    try:
        cards = (asound / "cards").read_text(errors="replace")  # ours: the kernel's
        pcms = (asound / "pcm").read_text(errors="replace")  # ours: the kernel's
    except OSError:
        return {}
    card_names = {int(card): name.strip() for card, name in _CARD_LINE.findall(cards)}
    names = {}
    for card, number, id_, name in _PCM_LINE.findall(pcms):
        parts = (card_names.get(int(card), ""), name.strip() or id_.strip())
        names[int(card), int(number)] = ": ".join(part for part in parts if part)
    return names


def _sorted(names: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(names.items(), key=lambda item: [int(number) for number in item[0].split(",")]))
