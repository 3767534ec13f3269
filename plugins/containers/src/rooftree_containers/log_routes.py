"""The routes of the logs family. A domain that has a log declares them with one line::

    routes.include(log_routes("/dns/logs", dns_log, access=MANAGER))

``dns_log`` is a plain function that gives the log; its parameters are filled like a handler's, services among them.
"""

# Annotations are looked at while a family is made: they name what only that family knows. So they are not postponed.

from collections.abc import Callable
from typing import Annotated, Protocol

from rooftree import From, RooftreeError, Routes, Stream
from rooftree.access import Access
from rooftree_containers.boots import BootReference
from rooftree_containers.log_query import DEFAULT_FORMAT, AskedLatestLog, LogFormat, LogQuery, asked_in


class RecentLog(Protocol):
    """A log that can be asked for its lines."""

    async def recent(self, query: LogQuery, *, follow: bool) -> Stream:
        """Its latest lines, and with ``follow`` those that come."""
        ...


class BootLog(Protocol):
    """A log that knows boots."""

    async def boot(self, boot: BootReference, query: LogQuery, *, follow: bool) -> Stream:
        """What was written in one boot of the host; raises ``NotFound`` for a boot that is not known."""
        ...


class Log(RecentLog, BootLog, Protocol):
    """All that the log of a domain can be asked for."""

    async def latest(self, query: LogQuery) -> Stream:
        """What was written since the last start."""
        ...


def log_routes(
    path: str, source: Callable[..., Log], *, access: Access, refuses: tuple[type[RooftreeError], ...] = ()
) -> Routes:
    """The logs family of one domain.

    :param path: where it begins: ``/dns/logs``
    :param source: gives the log; its parameters are services and parts of ``path``
    :param refuses: what it may raise, for the API's document
    """
    routes = recent_log_routes(path, source, access=access, refuses=refuses)

    @routes.get(f"{path}/latest", access=access, refuses=refuses)
    async def latest_logs(log: Annotated[Log, From(source)], query: AskedLatestLog) -> Stream:
        """What was written since the last start."""
        return await log.latest(query)

    routes.include(boot_log_routes(path, source, access=access))
    return routes


def recent_log_routes(
    path: str,
    source: Callable[..., RecentLog],
    *,
    access: Access,
    default: LogFormat = DEFAULT_FORMAT,
    refuses: tuple[type[RooftreeError], ...] = (),
) -> Routes:
    """The part of a family that every log has: its latest lines, and those that come.

    :param default: how lines look where a client does not say
    """
    routes = Routes()
    reader = asked_in(default)

    @routes.get(path, access=access, refuses=refuses)
    async def logs(log: Annotated[RecentLog, From(source)], query: Annotated[LogQuery, From(reader)]) -> Stream:
        """The latest lines of this log."""
        return await log.recent(query, follow=False)

    @routes.get(f"{path}/follow", access=access, refuses=refuses)
    async def follow_logs(log: Annotated[RecentLog, From(source)], query: Annotated[LogQuery, From(reader)]) -> Stream:
        """The latest lines of this log, and then every new one."""
        return await log.recent(query, follow=True)

    return routes


def boot_log_routes(
    path: str, source: Callable[..., BootLog], *, access: Access, default: LogFormat = DEFAULT_FORMAT
) -> Routes:
    """The part of a family that looks at one boot of the host."""
    routes = Routes()
    reader = asked_in(default)

    @routes.get(f"{path}/boots/{{bootid}}", access=access)
    async def boot_logs(
        log: Annotated[BootLog, From(source)], bootid: BootReference, query: Annotated[LogQuery, From(reader)]
    ) -> Stream:
        """The latest lines of one boot of the host."""
        return await log.boot(bootid, query, follow=False)

    @routes.get(f"{path}/boots/{{bootid}}/follow", access=access)
    async def follow_boot_logs(
        log: Annotated[BootLog, From(source)], bootid: BootReference, query: Annotated[LogQuery, From(reader)]
    ) -> Stream:
        """The latest lines of one boot of the host, and then every new one."""
        return await log.boot(bootid, query, follow=True)

    return routes
