"""Which machine this is, where somebody recognises it."""

from __future__ import annotations

from typing import Protocol

from rooftree.services import Service


class RecognizedMachine(Protocol):
    """What the machine tells of itself; ask at each use, for it is known only when its services have answered."""

    @property
    def machine(self) -> str | None:
        """In the words of the API, such as ``raspberrypi4-64``; ``None`` while nobody can tell, and on a machine that
        nobody has a word for."""
        ...


RECOGNIZED_MACHINE = Service[RecognizedMachine]("recognized_machine/1")
