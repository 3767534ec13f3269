"""A kitchen with a window: a domain that can do something about smoke, for a process that is killed meanwhile and for
the one after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rooftree import JobCall, Kernel, Plugin, Problem, Service, Step, hookimpl, job, step

SMOKE = Problem("smoke", "plugin", "kitchen", "It smokes in the kitchen", ("execute_repair",))
WINDOW = Service[Path]("killed.window/1")


@step("killed.open_window/1")
class OpenWindow(Step):
    """Open the window."""

    async def do(self, window: Path) -> None:
        await asyncio.to_thread(window.write_text, "open")

    async def undo(self, before: None, window: Path) -> None:
        await asyncio.to_thread(window.unlink, missing_ok=True)


@job("killed_ventilate")
async def ventilate() -> list[Step]:
    return [OpenWindow()]


class Kitchen(Plugin):
    """Has a window."""

    name = "kitchen"
    provides = (WINDOW,)

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(WINDOW, kernel.data.path / "window")

    @hookimpl
    def remedy(self, problem: Problem, suggestion: str) -> JobCall[None]:
        return ventilate()
