"""Home Assistant OS, told by its CPE name, which hostnamed reads from ``/etc/os-release``; and versions compared."""

from __future__ import annotations

import re
from typing import Final, Self

from attrs import frozen
from awesomeversion import AwesomeVersion, AwesomeVersionException

_PRODUCTS: Final = ("haos", "hassos")
_BOARDS: Final = {"intel-nuc": "generic-x86-64"}
"""Boards that have another name today."""
_PIECE: Final = re.compile(r"(?:\\.|[^:\\])+")
_ESCAPED: Final = re.compile(r"\\(.)")


@frozen
class HomeAssistantOs:
    """What the CPE name says."""

    version: str
    board: str

    @classmethod
    def from_cpe(cls, cpe: str) -> Self | None:
        """Read a name as NIST IR 7695 forms it, ``cpe:2.3:o:vendor:product:version:…:target_hw:other``; ``None`` for
        another system's."""
        pieces = [_ESCAPED.sub(r"\1", piece) for piece in _PIECE.findall(cpe)]
        if len(pieces) != 13 or pieces[:3] != ["cpe", "2.3", "o"] or pieces[4] not in _PRODUCTS:
            return None
        version, board = pieces[5], pieces[11]
        if version in {"*", "-"} or board in {"*", "-"}:
            return None
        return cls(version, _BOARDS.get(board, board))

    @property
    def major(self) -> int:
        """The first number of the version; 0 for one that begins with none."""
        return major_of(self.version) or 0

    def is_at_least(self, version: str) -> bool:
        """Whether it is that version or a later one."""
        return not newer(version, self.version)


def newer(version: str, other: str) -> bool:
    """Whether one version is later than another; ``False`` where they can't be compared."""
    try:
        return bool(AwesomeVersion(version) > AwesomeVersion(other))
    except AwesomeVersionException:
        return False


def major_of(version: str) -> int | None:
    """The first number of a version; ``None`` for one that begins with none."""
    head = version.partition(".")[0]
    return int(head) if head.isdecimal() else None
