"""What a job is given in memory alone is its own call's: others about the same thing neither see nor take it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from rooftree import CallMemory, JobBusy, JobCall, Kernel, Lock, Plugin, Service, Step, Steps, job, step
from rooftree.testing import running_system

_WORDS: Final = CallMemory[str]("words of the tests")


class Gate:
    """Where the job waits, and what it was told."""

    def __init__(self) -> None:
        self.heard = list[str | None]()
        self.is_reached = asyncio.Event()
        self.opens = asyncio.Event()


GATE = Service[Gate]("gate/1")


@step("test_call_memory.pass/1")
class Pass(Step):
    """Say the word before the gate, and behind it."""

    gate: str

    async def do(self, gate: Gate) -> None:
        gate.heard.append(_WORDS.get(self.gate))
        gate.is_reached.set()
        await gate.opens.wait()
        gate.heard.append(_WORDS.get(self.gate))


@job("pass_gate", reference="gate", locks=lambda gate: {Lock("gate", gate)}, when_busy="refuse")
async def pass_gate(gate: str) -> Steps:
    return [Pass(gate)]


class GatePlugin(Plugin):
    """A gate."""

    name = "gate"
    provides = (GATE,)

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(GATE, Gate())


def with_word(word: str) -> JobCall[None]:
    return pass_gate(gate="north").during(_WORDS.of({"north": word}))


async def test_call_that_is_refused_or_planned_takes_nothing_from_the_one_under_way(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[GatePlugin]) as system:
        gate = system.services.get(GATE)
        passing = asyncio.create_task(system.jobs.run(with_word("sesame")))
        await gate.is_reached.wait()

        for other in (system.jobs.run(with_word("barley")), system.jobs.preview(with_word("rye"))):
            with pytest.raises(JobBusy):
                await other
        gate.opens.set()
        await passing

        assert gate.heard == ["sesame", "sesame"]
        assert _WORDS.get("north") is None
