"""Hearing from the kernel that an interface, an address or a route has changed: rtnetlink(7)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

from rooftree_network.rtnetlink import changes_default_route

log = structlog.get_logger(__name__)

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""``RTMGRP_LINK``, ``…_IPV4_IFADDR``, ``…_IPV4_ROUTE``, ``…_IPV6_IFADDR``, ``…_IPV6_ROUTE``."""
_MESSAGE_BYTES: Final = 65536


class KernelNews:
    """Hears what changes.

    :param changed: called whenever something has; ``True`` where it may have been a way to everywhere
    """

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self._changed = changed
        self._kernel: socket.socket | None = None

    @property
    def is_heard(self) -> bool:
        """Whether there is anything to be heard."""
        return self._kernel is not None

    def listen(self) -> None:
        """Begin; on a kernel that does not let us, nothing is heard."""
        try:
            kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        except OSError as error:
            log.info("kernel_network_unheard", reason=str(error))
            return
        try:
            kernel.bind((0, _GROUPS))
        except OSError as error:
            kernel.close()
            log.info("kernel_network_unheard", reason=str(error))
            return
        self._kernel = kernel
        asyncio.get_running_loop().add_reader(kernel, self._read, kernel)

    def _read(self, kernel: socket.socket) -> None:
        leads_elsewhere = False
        try:
            while True:
                leads_elsewhere |= changes_default_route(kernel.recv(_MESSAGE_BYTES))
        except BlockingIOError:
            pass
        except OSError as error:  # more than the socket holds: anything may have changed
            log.debug("kernel_network_overrun", reason=str(error))
            leads_elsewhere = True
        self._changed(leads_elsewhere)

    def close(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            asyncio.get_running_loop().remove_reader(kernel)
            kernel.close()
