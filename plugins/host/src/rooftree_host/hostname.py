"""The host's name."""

from __future__ import annotations

import re
from typing import Final

from rooftree import Invalid, Lock, Step, Steps, job, step
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree_machine.hostnamed import HOSTNAME, SET_STATIC_HOSTNAME, Hostname

_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
MOST_CHARACTERS: Final = 64
"""Of a host name on Linux: HOST_NAME_MAX, gethostname(2)."""


class HostnameInvalid(Invalid):
    """The host cannot have that name."""

    error_key = "host_invalid_hostname"


def refuse_no_hostname(name: str) -> None:
    """Raise :class:`HostnameInvalid` for what is no host name: RFC 1123, section 2.1."""
    if len(name) > MOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise HostnameInvalid(
            f"hostname: must be letters, digits and dashes (not at an end), parts separated by dots, {MOST_CHARACTERS} "
            f"characters at most, not {name!r}",
            hostname=name,
        )


@step("host.set_hostname/1")
class SetHostname(Step):
    """Give the machine a name."""

    hostname: str

    async def before(self, bus: SystemBus) -> str | None:
        """The one it has."""
        return (await bus.read(Hostname, HOSTNAME)).static_hostname

    async def do(self, bus: SystemBus) -> None:
        """Set it, for good."""
        try:
            await bus.call(HOSTNAME, SET_STATIC_HOSTNAME, self.hostname, False)
        except BusRefused as error:
            if error.name != "org.freedesktop.DBus.Error.InvalidArgs":
                raise
            raise HostnameInvalid(f"hostname: {error.message}", hostname=self.hostname) from None

    async def undo(self, was: str | None, bus: SystemBus) -> None:
        await bus.call(HOSTNAME, SET_STATIC_HOSTNAME, was or "", False)


@job("host_set_hostname", reference="hostname", locks=lambda hostname: [Lock("host", "hostname")])
async def set_hostname(bus: SystemBus, hostname: str) -> Steps:
    """Give the host a name; nothing to do where it has it."""
    refuse_no_hostname(hostname)
    if (await bus.read(Hostname, HOSTNAME)).static_hostname == hostname:
        return []
    return [SetHostname(hostname)]
