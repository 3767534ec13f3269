"""What a sound server calls one of its devices, where a container's user chooses one."""

from __future__ import annotations

from rooftree import ParsedString


class AudioDeviceName(ParsedString):
    """The name of a sound server's source or sink, as PulseAudio limits those; empty for its choice."""

    __slots__ = ()

    pattern = r"[^\x00-\x1f\x7f]{0,128}"
    allowed = "the name of a sound device, of at most 128 characters and without control characters"
