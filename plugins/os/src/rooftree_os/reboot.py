"""Reboots: done once, by a job whose last step they are, and noted as needed where nobody is to be surprised by one."""

from __future__ import annotations

from typing import Final

import structlog

from rooftree import Kernel, Problem, Run, Service, Step, step
from rooftree.clock import boot_id
from rooftree.interfaces.power import HostPower

log = structlog.get_logger(__name__)

PROBLEM: Final = "reboot_required"


class Reboots:
    """Reboots the host, and knows whether it has to be.

    :param boot_id: of the boot that we run in
    """

    def __init__(self, kernel: Kernel, boot_id: str) -> None:
        self._kernel = kernel
        self.boot_id = boot_id

    @classmethod
    async def load(cls, kernel: Kernel) -> Reboots:
        """Look at which boot this is; what waited for a reboot before it has had it."""
        reboots = cls(kernel, await boot_id())
        for problem in kernel.problems:
            if problem.type == PROBLEM and problem.extra and problem.extra.get("boot") != reboots.boot_id:
                kernel.problems.clear(problem.type, problem.context, problem.reference)
        return reboots

    @property
    def is_required(self) -> bool:
        """Whether something of the system waits for a reboot."""
        return any(problem.type == PROBLEM and problem.context == "system" for problem in self._kernel.problems)

    def require(self, reason: str) -> None:
        """Report that a reboot is needed, until there was one."""
        self._kernel.problems.report(
            Problem(PROBLEM, "system", None, reason, suggestions=("execute_reboot",), extra={"boot": self.boot_id})
        )

    async def now(self, power: HostPower, boot_id: str) -> None:
        """End what runs and reboot, unless the boot of that id is over already."""
        if boot_id != self.boot_id:
            log.info("rebooted_already", boot=boot_id)
            return
        log.warning("rebooting")
        await power.end_what_runs()
        await power.end("reboot")


REBOOTS = Service[Reboots]("os.reboots/1")


@step("os.reboot/2")
class Reboot(Step):
    """Reboot the machine."""

    downtime = True

    def acts_on(self) -> str | None:
        """The host: nothing that has a name."""
        return None

    async def before(self, reboots: Reboots) -> str:
        """The boot to be ended: the one in which the reboot's turn came. A job that the reboot itself interrupted is
        taken up in the next one, and must not end that as well; where another reboot came first, it is still due."""
        return reboots.boot_id

    async def do(self, run: Run, power: HostPower, reboots: Reboots) -> None:
        await reboots.now(power, run.before(str))


async def final_reboot(power: HostPower) -> Reboot:
    """The last step of a plan that ends in a reboot; raises :class:`~rooftree.errors.Unavailable` where that cannot be,
    or something speaks against it."""
    power.refuse_impossible()
    await power.refuse_objections()
    return Reboot()


@step("os.require_reboot/2")
class RequireReboot(Step):
    """Report that a reboot is needed for this to take effect."""

    reason: str

    def acts_on(self) -> str | None:
        return None

    async def before(self, reboots: Reboots) -> str:
        """The boot in which the change was complete; after a reboot in the middle of the job that is the later one."""
        return reboots.boot_id

    async def do(self, run: Run, reboots: Reboots) -> None:
        """Report it, unless the host was booted meanwhile."""
        if reboots.boot_id == run.before(str):
            reboots.require(self.reason)
