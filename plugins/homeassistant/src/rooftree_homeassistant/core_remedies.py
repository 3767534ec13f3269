"""What is done about Core's problems when its user chooses what is suggested against them."""

from __future__ import annotations

from rooftree import JobCall, Problem, Step, Steps, job, step
from rooftree_homeassistant import core_jobs
from rooftree_homeassistant.core_container import NAMES
from rooftree_homeassistant.core_jobs import StartMode
from rooftree_homeassistant.core_options import CoreOptionsChange
from rooftree_homeassistant.home_assistant import HomeAssistant


def remedy_of(problem: Problem, suggestion: str) -> JobCall[None] | None:
    """The job that does what is suggested; ``None`` for what is not Core's, and what is not done here."""
    if problem.context != NAMES.context:
        return None
    match suggestion:
        case "execute_start":
            return core_jobs.start()
        case "execute_restart":
            return core_jobs.restart(mode=StartMode())
        case "execute_rebuild":
            return core_jobs.rebuild(mode=StartMode())
        case "disable_boot":
            return disable_boot()
    return None


@step("homeassistant.set_boot/1")
class SetBoot(Step):
    """Choose whether Core starts with the host."""

    boot: bool

    async def before(self, core: HomeAssistant) -> bool:
        return core.options.boot

    async def do(self, core: HomeAssistant) -> None:
        await core.set_options(CoreOptionsChange(boot=self.boot))

    async def undo(self, boot: bool, core: HomeAssistant) -> None:
        await core.set_options(CoreOptionsChange(boot=boot))


@job("home_assistant_core_disable_boot")
async def disable_boot() -> Steps:
    """Let Core no longer start with the host. It waits for nothing else: a start that hangs is why it is chosen."""
    return [SetBoot(False)]
