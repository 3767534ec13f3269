"""Inputs and outputs of sound cards, and what they are called."""

from __future__ import annotations

from pathlib import Path

from rooftree.interfaces.hardware import Device
from rooftree_host.sound_cards import SoundDevices, sound_devices

CARDS = """ 0 [PCH            ]: HDA-Intel - HDA Intel PCH
                      HDA Intel PCH at 0xdf340000 irq 132
11 [Yeti           ]: USB-Audio - Yeti Stereo Microphone
                      Blue Microphones Yeti Stereo Microphone at usb-0000:00:14.0-5, full speed
"""
PCM = """00-00: ALC892 Analog : ALC892 Analog : playback 1 : capture 1
00-03: HDMI 0 :  : playback 1
11-00: USB Audio : USB Audio : playback 1 : capture 1
"""


def devices(*names: str) -> list[Device]:
    """Sound devices of these names, and a terminal that only sounds like one."""
    sound = [Device(name=name, sysfs=f"/sys/{name}", dev_path=f"/dev/snd/{name}", subsystem="sound") for name in names]
    return [*sound, Device(name="pcmC9D9p", sysfs="/sys/x", dev_path="/dev/x", subsystem="tty")]


async def test_names_are_those_of_card_and_device(tmp_path: Path) -> None:
    (tmp_path / "cards").write_text(CARDS)
    (tmp_path / "pcm").write_text(PCM)
    there = devices("pcmC11D0p", "pcmC11D0c", "controlC0", "pcmC0D3p", "pcmC0D0p", "pcmC0D0c", "timer", "seq")

    found = await sound_devices(there, tmp_path)

    assert found == SoundDevices(
        input={"0,0": "HDA Intel PCH: ALC892 Analog", "11,0": "Yeti Stereo Microphone: USB Audio"},
        output={
            "0,0": "HDA Intel PCH: ALC892 Analog",
            "0,3": "HDA Intel PCH: HDMI 0",
            "11,0": "Yeti Stereo Microphone: USB Audio",
        },
    )
    assert [*found.output] == ["0,0", "0,3", "11,0"]


async def test_where_their_names_are_not_to_be_seen_they_have_numbers(tmp_path: Path) -> None:
    found = await sound_devices(devices("pcmC1D7p"), tmp_path / "masked")

    assert found == SoundDevices(input={}, output={"1,7": "Card 1, device 7"})
