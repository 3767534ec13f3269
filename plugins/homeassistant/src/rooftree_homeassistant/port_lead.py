"""Who comes to Core's port while Core starts is led to the landing page, by a rule of the kernel's (``nft``).

Two programs can't listen on one port, and Core needs minutes from its start until it listens. So the page leaves the
port before Core is started, and is reached through the rule until somebody listens there. A rule that outlived us would
keep everybody from Core: the ports are in a set whose entries vanish by themselves within half a minute, unless they
are renewed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from rooftree_workers import child_process

STAYS_S: Final = 30
"""Seconds that an entry stays which is not renewed."""
COMMAND_S: Final = 5.0
_LISTENS: Final = "0A"
"""The state of a socket that listens, in ``/proc/net/tcp``; proc(5)."""
_RULES: Final = """\
table inet {table}
delete table inet {table}
table inet {table} {{
  set ports {{
    type inet_service
    flags timeout
  }}
  chain before {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local tcp dport @ports redirect to :{to}
  }}
  chain own {{
    type nat hook output priority -100; policy accept;
    fib daddr type local tcp dport @ports redirect to :{to}
  }}
}}
"""


class LeadImpossible(Exception):
    """The rule could not be written: no root, no ``nft``, or a kernel without what it needs."""


class PortLead:
    """The rule.

    :param name: of its own, in letters and digits; what others have of that name is replaced
    """

    def __init__(self, name: str) -> None:
        self._table = f"rooftree_core_{name}"

    async def begin(self, ports: Collection[int], to: int) -> None:
        """Lead who comes to ``ports`` of this machine to another; raises :class:`LeadImpossible`."""
        await _nft(_RULES.format(table=self._table, to=to) + self._entries(ports))

    async def renew(self, ports: Collection[int]) -> None:
        """Let it last; raises :class:`LeadImpossible`."""
        await _nft(f"flush set inet {self._table} ports\n{self._entries(ports)}")

    async def pause(self) -> None:
        """Lead nobody else; who was led goes on. Raises :class:`LeadImpossible`."""
        await _nft(f"flush set inet {self._table} ports\n")

    async def end(self) -> None:
        """Take the rule away, and who was led: without any such rule the kernel forgets them. Raises the same."""
        await _nft(f"table inet {self._table}\ndelete table inet {self._table}\n")

    def _entries(self, ports: Collection[int]) -> str:
        entries = ", ".join(f"{port} timeout {STAYS_S}s" for port in sorted(ports))
        return f"add element inet {self._table} ports {{ {entries} }}\n"


async def _nft(script: str) -> None:
    try:
        async with (
            asyncio.timeout(COMMAND_S),
            child_process("nft", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT) as child,
        ):
            said, _ = await child.communicate()
    except OSError as error:  # it is not installed, or, a TimeoutError, does not end
        raise LeadImpossible(f"nft (package nftables) can't be run: {str(error) or type(error).__name__}") from None
    if child.returncode != 0:
        raise LeadImpossible(f"nft failed: {' '.join(said.decode(errors='replace').split())[:300]}")


def listening_ports(net: Path = Path("/proc/net")) -> frozenset[int]:
    """The TCP ports that somebody on this machine listens on. Reads files: call it in a thread."""
    return frozenset(_listening(net))


def _listening(net: Path) -> Iterator[int]:
    for name in ("tcp", "tcp6"):
        try:
            text = (net / name).read_text("ascii")  # ours: the kernel's
        except OSError:  # a kernel without it
            continue
        for line in text.splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == _LISTENS:
                yield int(local.rpartition(":")[2], 16)
