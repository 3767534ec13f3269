"""The routes of Host: so far ``/host/logs…``; those of Hardware are in :mod:`rooftree_host.hardware_routes`."""

from __future__ import annotations

from rooftree import Role, Routes, role
from rooftree.interfaces.journal import SystemJournal
from rooftree_containers.boots import BootReference
from rooftree_containers.log_routes import boot_log_routes, recent_log_routes
from rooftree_host.hardware_routes import routes as hardware_routes
from rooftree_host.host_log import HostLog
from rooftree_host.models import Identifier, Identifiers, JournalBoots

routes = Routes()
MANAGER = role(Role.MANAGER)


def host_log(journal: SystemJournal) -> HostLog:
    """What the programs of the host wrote."""
    return HostLog(journal)


def program_log(journal: SystemJournal, identifier: Identifier) -> HostLog:
    """What one of them wrote."""
    return HostLog(journal, identifier)


def program_log_of_boot(journal: SystemJournal, bootid: BootReference, identifier: Identifier) -> HostLog:
    """What one of them wrote in one boot."""
    return HostLog(journal, identifier, bootid)


routes.include(hardware_routes)
routes.include(recent_log_routes("/host/logs", host_log, access=MANAGER, default="verbose"))
routes.include(boot_log_routes("/host/logs", host_log, access=MANAGER, default="verbose"))
routes.include(recent_log_routes("/host/logs/identifiers/{identifier}", program_log, access=MANAGER, default="verbose"))
routes.include(
    recent_log_routes(
        "/host/logs/boots/{bootid}/identifiers/{identifier}", program_log_of_boot, access=MANAGER, default="verbose"
    )
)


@routes.get("/host/logs/identifiers", access=MANAGER)
async def identifiers(journal: SystemJournal) -> Identifiers:
    """The programs that wrote to the system journal, containers among them."""
    return Identifiers(await journal.identifiers())


@routes.get("/host/logs/boots", access=MANAGER)
async def boots(journal: SystemJournal) -> JournalBoots:
    """The boots that the system journal has entries of."""
    return JournalBoots.of(await journal.boots())
