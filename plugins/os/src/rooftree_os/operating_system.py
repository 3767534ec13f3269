"""Which operating system this is, and what is wrong with it.

Home Assistant OS is told by its CPE name, which hostnamed reads from ``/etc/os-release``. What follows from what the
system is (or is not) are conditions of jobs, and problems for whoever shows them.
"""

from __future__ import annotations

from typing import Final

from rooftree import Invalid, Kernel, NotFound, Problem, RooftreeError, Service, Unavailable
from rooftree.interfaces.bus import SYSTEM_BUS, BusUnavailable, SystemBus
from rooftree_machine.agent import AGENT, OS_AGENT, Agent
from rooftree_machine.home_assistant_os import HomeAssistantOs, major_of, newer
from rooftree_machine.hostnamed import HOSTNAME, Hostname
from rooftree_machine.machine_types import machine_of_board
from rooftree_os.releases import Releases
from rooftree_os.slots import Slots

SUPPORTED_MAJORS: Final = 4
"""Major releases, the newest among them, that count as supported."""


class OtherSystem(Invalid):
    """It takes Home Assistant OS, and this is none."""

    error_key = "os_other_system_error"


class OperatingSystem:
    """The system of this host, as far as the bus tells."""

    def __init__(self, kernel: Kernel, releases: Releases) -> None:
        self._kernel = kernel
        self.releases = releases
        self._seen: HomeAssistantOs | None = None
        self._pending: str | None = None

    @property
    def bus(self) -> SystemBus:
        """The system bus; raises :class:`BusUnavailable` where no plugin provides one."""
        bus = self._kernel.find(SYSTEM_BUS)
        if bus is None:
            raise BusUnavailable("There is no system bus: the plugin host, which provides it, is not running")
        return bus

    async def home_assistant_os(self) -> HomeAssistantOs | None:
        """Home Assistant OS, or ``None`` for another system; raises :class:`BusUnavailable` while nobody can tell."""
        naming = await self.bus.read(Hostname, HOSTNAME)
        self._seen = HomeAssistantOs.from_cpe(naming.cpe or "")
        return self._seen

    async def home_assistant_os_if_known(self) -> HomeAssistantOs | None:
        """The same; ``None`` also while nobody can tell."""
        try:
            return await self.home_assistant_os()
        except RooftreeError:
            return None

    async def required(self) -> HomeAssistantOs:
        """Home Assistant OS; raises :class:`OtherSystem` for another one, :class:`BusUnavailable`."""
        home_assistant_os = await self.home_assistant_os()
        if home_assistant_os is None:
            raise OtherSystem(await self._what_it_is())
        return home_assistant_os

    async def _what_it_is(self) -> str:
        naming = await self.bus.read(Hostname, HOSTNAME)
        return f"This takes Home Assistant OS; this machine runs {naming.operating_system or 'another system'}"

    async def slots(self) -> Slots:
        """The slots; raises :class:`BusUnavailable`, ``BusRefused``."""
        slots = await Slots.read(self.bus)
        self._pending = slots.pending.version if slots.pending is not None else None
        return slots

    def update(self) -> str | None:
        """The version that could be installed, from memory: later than what runs, and not installed already."""
        if self._seen is None:
            return None
        latest = self.releases.next_after(self._seen.version, self._seen.board)
        waits = latest is not None and newer(latest, self._seen.version) and latest != self._pending
        return latest if waits else None

    @property
    def machine(self) -> str | None:
        return machine_of_board(self._seen.board) if self._seen is not None else None

    def has_agent(self) -> bool:
        """Whether the OS agent runs, or is started when it is called."""
        bus = self._kernel.find(SYSTEM_BUS)
        return bus is not None and bus.has(AGENT)

    async def agent_version(self) -> str:
        """Of the OS agent; raises :class:`Unavailable`, and :class:`NotFound` for one that does not say."""
        version = (await self.bus.read(Agent, OS_AGENT)).version
        if version is None:
            raise NotFound(f"The OS agent ({AGENT}) does not tell its version")
        return version

    # --- conditions ---------------------------------------------------------------------------------------------------

    def register_conditions(self) -> None:
        """Say how the conditions that speak of the system are checked."""
        self._kernel.condition("haos", self._not_haos)
        self._kernel.condition("os_agent", self._no_agent)
        self._kernel.condition("os_supported", self._not_supported)

    async def _not_haos(self, _: int) -> str | None:
        try:
            return None if await self.home_assistant_os() is not None else await self._what_it_is()
        except Unavailable as error:
            return f"whether this is Home Assistant OS can't be told: {error.message}"

    async def _no_agent(self, _: int) -> str | None:
        return None if self.has_agent() else _NO_AGENT

    async def _not_supported(self, _: int) -> str | None:
        home_assistant_os = await self.home_assistant_os_if_known()
        return self._too_old(home_assistant_os) if home_assistant_os is not None else None

    # --- problems -----------------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        """Report what makes a Home Assistant OS unsupported, and clear what no longer does; any other system with a
        container engine is as good. While there is no bus nobody can tell, and what was said stays."""
        bus = self._kernel.find(SYSTEM_BUS)
        if bus is None or not bus.connected:
            return
        try:
            home_assistant_os = await self.home_assistant_os()
        except RooftreeError:
            return
        self._judged("os_agent", _NO_AGENT if home_assistant_os is not None and not self.has_agent() else None)
        self._judged("os_version", self._too_old(home_assistant_os) if home_assistant_os is not None else None)

    def _too_old(self, home_assistant_os: HomeAssistantOs) -> str | None:
        newest = self.releases.newest(home_assistant_os.board)
        if newest is None:
            return None
        oldest = (major_of(newest) or 0) - SUPPORTED_MAJORS + 1
        if home_assistant_os.major >= oldest:
            return None
        return f"Home Assistant OS {home_assistant_os.version} is no longer supported: update to {oldest}.0 or later"

    def _judged(self, type: str, sentence: str | None) -> None:
        if sentence is None:
            self._kernel.problems.clear(type)
        else:
            self._kernel.problems.report(Problem(type, "system", None, sentence, severity="unsupported"))


_NO_AGENT: Final = (
    f"The OS agent ({AGENT}) is not on the system bus: what needs it (data disk, swap, lights of boards, AppArmor) is "
    "not offered; install it from https://github.com/home-assistant/os-agent"
)

OPERATING_SYSTEM = Service[OperatingSystem]("os.operating_system/1")
