"""What comes in one turn of the event loop is handled in stages where it is much."""

from __future__ import annotations

import asyncio
from functools import partial

from rooftree.http.turns import UNSTAGED, Turns


class Crowd:
    """What comes in one turn: each is handled, and then sends something."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.done: list[str] = []

    async def come(self, *names: str) -> list[str]:
        """Let them come; what was done by the end of the next turn."""
        for name in names:
            self.turns.handle(partial(self._handle, name))
        await asyncio.sleep(0)
        return self.done

    def _handle(self, name: str) -> None:
        self.done.append(f"{name} handled")
        if name == "ill":
            raise RuntimeError("this one fails")
        self.turns.send(partial(self.done.append, f"{name} sent"))


FEW = tuple(map(str, range(UNSTAGED)))


async def test_few_that_come_in_a_turn_are_dealt_with_one_after_another() -> None:
    crowd = Crowd()

    for name in FEW:
        crowd.turns.handle(partial(crowd._handle, name))

    assert crowd.done == [f"{name} {what}" for name in FEW for what in ("handled", "sent")]


async def test_many_that_come_in_a_turn_are_all_handled_before_anything_is_sent() -> None:
    crowd = Crowd()
    await crowd.come(*FEW)
    crowd.done.clear()

    assert await crowd.come("a", "b", "c") == ["a handled", "b handled", "c handled", "a sent", "b sent", "c sent"]


async def test_turn_after_a_crowd_begins_anew() -> None:
    crowd = Crowd()
    await crowd.come(*FEW, "a", "b")
    crowd.done.clear()

    crowd.turns.handle(partial(crowd._handle, "c"))

    assert crowd.done == ["c handled", "c sent"]


async def test_what_fails_in_a_crowd_is_told_and_keeps_nobody_from_their_turn() -> None:
    crowd = Crowd()
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, facts: failures.append(facts["exception"]))
    await crowd.come(*FEW)
    crowd.done.clear()

    assert await crowd.come("a", "ill", "b") == ["a handled", "ill handled", "b handled", "a sent", "b sent"]
    assert list(map(str, failures)) == ["this one fails"]
