"""The routes of Host: ``/host…`` and ``/time…``; those of Hardware are in :mod:`rooftree_host.hardware_routes`."""

from __future__ import annotations

from typing import Annotated

from rooftree import UNSET, From, Invalid, JobCall, Role, Routes, Stream, Unset, role
from rooftree.interfaces.bus import SystemBus
from rooftree.interfaces.callers import OBSERVER
from rooftree.interfaces.hardware import Hardware
from rooftree.interfaces.journal import SystemJournal
from rooftree_containers.boots import BootReference
from rooftree_containers.log_query import AskedLog
from rooftree_containers.log_routes import boot_log_routes, recent_log_routes
from rooftree_host.disk_usage import DiskUsages
from rooftree_host.facts import HostFacts
from rooftree_host.hardware_routes import routes as hardware_routes
from rooftree_host.host_log import HostLog
from rooftree_host.hostname import set_hostname
from rooftree_host.models import (
    DiskName,
    DiskUsage,
    EndOptions,
    HostInfo,
    HostOptions,
    HostServices,
    Identifier,
    Identifiers,
    JournalBoots,
    TimeInfo,
    TimeOptions,
)
from rooftree_host.power import reboot, shut_down
from rooftree_host.time_servers import TimeServers
from rooftree_host.units import UnitName, Units, change_unit

routes = Routes()
MANAGER = role(Role.MANAGER)
MOST_LEVELS = 8
"""How deep the room on a disk is told apart: every level multiplies what is answered."""


@routes.get("/host/info", access=role(Role.DEFAULT) | OBSERVER)
async def info(facts: HostFacts) -> HostInfo:
    """Facts about the host; null where nobody on it knows."""
    return await facts.info()


@routes.post("/host/options", access=MANAGER)
def set_options(body: HostOptions) -> JobCall[None]:
    """Change the host's name."""
    if isinstance(body.hostname, Unset):
        raise Invalid("The body has no option in it; give hostname")
    return set_hostname(hostname=body.hostname)


@routes.post("/host/reload", access=MANAGER)
async def reload(bus: SystemBus, hardware: Hardware) -> None:
    """Ask the host's services anew for everything, and look for devices."""
    await bus.forget()
    await hardware.reload()


@routes.post("/host/reboot", access=MANAGER)
def start_again(body: EndOptions | None = None) -> JobCall[None]:
    """End what runs on the host, and start it again."""
    return reboot(force=body.force if body else False)


@routes.post("/host/shutdown", access=MANAGER)
def switch_off(body: EndOptions | None = None) -> JobCall[None]:
    """End what runs on the host, and switch it off."""
    return shut_down(force=body.force if body else False)


@routes.get("/host/services", access=MANAGER)
async def services(units: Units) -> HostServices:
    """The services that systemd has loaded."""
    return HostServices(await units.services())


@routes.post("/host/service/{service}/start", access=MANAGER)
def start_service(service: UnitName) -> JobCall[None]:
    """Start a service of the host."""
    return change_unit(unit=service.unit, verb="start")


@routes.post("/host/service/{service}/stop", access=MANAGER)
def stop_service(service: UnitName) -> JobCall[None]:
    """Stop a service of the host, unless Rooftree needs it."""
    return change_unit(unit=service.unit, verb="stop")


@routes.post("/host/service/{service}/reload", access=MANAGER)
def reload_service(service: UnitName) -> JobCall[None]:
    """Let a service of the host read its configuration again; one that cannot is started anew."""
    return change_unit(unit=service.unit, verb="reload")


@routes.get("/host/disks/{disk}/usage", access=MANAGER)
async def disk_usage(usages: DiskUsages, disk: DiskName, max_depth: int | Unset = UNSET) -> DiskUsage:
    """What takes the room on the disk of the data folder (``default``, one level unless told), or on a mount, by its
    name (the sum unless told)."""
    if not isinstance(max_depth, Unset) and not 0 <= max_depth <= MOST_LEVELS:
        raise Invalid(f"max_depth: must be a number from 0 to {MOST_LEVELS}, not {max_depth}")
    if disk == "default":
        return await usages.of_data(1 if isinstance(max_depth, Unset) else max_depth)
    return await usages.of_mount(disk, 0 if isinstance(max_depth, Unset) else max_depth)


@routes.get("/time/info", access=MANAGER)
async def time_info(time_servers: TimeServers) -> TimeInfo:
    """The servers that the clock is set by."""
    return await time_servers.info()


@routes.post("/time/options", access=MANAGER)
async def set_time_options(time_servers: TimeServers, body: TimeOptions) -> None:
    """Set the clock by other servers; none returns to the system's."""
    await time_servers.choose(body.servers, body.fallback_servers)


def host_log(system_journal: SystemJournal) -> HostLog:
    """What the programs of the host wrote."""
    return HostLog(system_journal)


def program_log(system_journal: SystemJournal, identifier: Identifier) -> HostLog:
    return HostLog(system_journal, identifier)


def program_log_of_boot(system_journal: SystemJournal, bootid: BootReference, identifier: Identifier) -> HostLog:
    """What one of them wrote in one boot."""
    return HostLog(system_journal, identifier, bootid)


routes.include(hardware_routes)
routes.include(recent_log_routes("/host/logs", host_log, access=MANAGER, default="verbose"))
routes.include(boot_log_routes("/host/logs", host_log, access=MANAGER, default="verbose"))
routes.include(recent_log_routes("/host/logs/identifiers/{identifier}", program_log, access=MANAGER))
routes.include(
    recent_log_routes("/host/logs/boots/{bootid}/identifiers/{identifier}", program_log_of_boot, access=MANAGER)
)


@routes.get("/host/logs/boot/{bootid}/{identifier}/entries/follow", access=MANAGER)
async def follow_program_log_of_boot(log: Annotated[HostLog, From(program_log_of_boot)], query: AskedLog) -> Stream:
    """The same as ``/host/logs/boots/{bootid}/identifiers/{identifier}/follow``, as the API's reference spells it."""
    return await log.recent(query, follow=True)


@routes.get("/host/logs/identifiers", access=MANAGER)
async def identifiers(system_journal: SystemJournal) -> Identifiers:
    """The programs that wrote to the system journal, containers among them."""
    return Identifiers(await system_journal.identifiers())


@routes.get("/host/logs/boots", access=MANAGER)
async def boots(system_journal: SystemJournal) -> JournalBoots:
    """The boots that the system journal has entries of."""
    return JournalBoots.of(await system_journal.boots())
