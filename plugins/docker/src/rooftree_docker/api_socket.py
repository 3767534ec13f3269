"""The socket on which add-ons reach our API: port 80 of a known address on their network.

On a host, and as root, it is made in a network namespace of its own. One end of a veth pair is put on the network's
bridge, the other is alone in the namespace with the address, and the socket listens there. So the host's port 80 stays
free, nobody outside the bridge can reach the socket, and the kernel takes namespace and interfaces away when the last
socket is closed, also after a ``kill -9``.

When the daemon runs in a container on that network, it listens on its own address there. Where neither is possible it
listens on the bridge's gateway, which costs the host's port 80 on that address; :attr:`ApiSocket.reason` says why.

The ``ip`` command does the work rather than a netlink library: it is part of every distribution, its errors can be read
by people, and two runs of it at start cost 10 ms.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from attrs import frozen

from rooftree.errors import Conflict, Unavailable
from rooftree.interfaces.containers import AddonNetwork
from rooftree_docker.wire import pin_addresses
from rooftree_docker.wire_rules import OWN_PORT_PREFIX, derived_mac

log = structlog.get_logger(__name__)

API_PORT: Final = 80
_BACKLOG: Final = 512
_COMMAND_SECONDS: Final = 10

type Socket = socket.socket
type How = Literal["veth", "own address", "gateway"]


class _NotHere(Exception):
    """A way that does not work on this machine, and why."""


@frozen(kw_only=True)
class ApiSocket:
    """A listening socket, ready to be served from any thread. Close it with :meth:`close`."""

    socket: socket.socket
    address: str
    """Where containers on the network reach it."""
    how: How
    reason: str = ""
    """Why it is not made in the best way; empty when it is."""
    bridge: str = ""
    interface: str | None = None
    """The host's end of the veth pair."""
    inside: ThreadPoolExecutor | None = None
    """One thread, whose sockets are in the namespace."""

    async def outgoing(self) -> Socket | None:
        """A socket whose connections come from :attr:`address`, as :class:`~rooftree.interfaces.containers.OwnAddress`
        has it."""
        if self.inside is None:
            return None
        return await asyncio.get_running_loop().run_in_executor(self.inside, _unconnected)

    async def attached(self) -> bool:
        """Whether containers still reach it; ``False`` after the engine made its bridge anew."""
        if self.interface is None:
            return self.socket.fileno() >= 0
        try:
            master = await asyncio.to_thread(
                Path(f"/sys/class/net/{self.interface}/master").readlink
            )  # ours: the kernel's
        except OSError:
            return False
        return master.name == self.bridge

    async def close(self) -> None:
        """Stop listening and take the interfaces away at once, also while connections are still open."""
        self.socket.close()
        if self.inside is not None:
            self.inside.shutdown(wait=False)
        if self.interface is not None:
            interface = self.interface
            with suppress(_NotHere):  # the kernel was faster
                await asyncio.to_thread(_ip, f"link delete {interface}")


def refuse_taken_address(network: Mapping[str, Any], address: str) -> None:
    """Raises ``Conflict`` where a container on the network has the address.

    :param network: as the engine describes it
    """
    for endpoint in network["Containers"].values():
        if endpoint.get("IPv4Address", "").split("/")[0] == address:
            raise Conflict(
                f"The container {endpoint.get('Name')} has {address} on the network {network['Name']}, where add-ons "
                "expect Rooftree. Stop it: two supervisors cannot share one network."
            )


async def open_api_socket(network: AddonNetwork, *, own_address: str | None, port: int = API_PORT) -> ApiSocket:
    """Listen where containers on ``network`` expect the API.

    :param own_address: the daemon's own address on the network, when it runs in a container there
    """
    if own_address is not None:
        try:
            listening = _listen(own_address, port)
        except OSError as error:
            raise _cannot_listen(own_address, port, error) from error
        return ApiSocket(socket=listening, address=own_address, how="own address")
    try:
        made = await _in_own_namespace(network, port)
    except _NotHere as error:
        reason = str(error)
    else:
        log.info("api_socket_opened", address=made.address, port=port, how=made.how)
        return made
    try:
        listening = _listen(network.gateway, port)
    except OSError as error:
        raise _cannot_listen(network.gateway, port, error, reason) from error
    log.warning("api_socket_on_gateway", address=network.gateway, port=port, reason=reason)
    return ApiSocket(socket=listening, address=network.gateway, how="gateway", reason=reason)


async def _in_own_namespace(network: AddonNetwork, port: int) -> ApiSocket:
    interface = f"{OWN_PORT_PREFIX}{secrets.token_hex(5)}"
    # A thread of its own: it never leaves the namespace, so it must not go back to a pool.
    inside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="api-socket")
    making = asyncio.get_running_loop().run_in_executor(inside, _make_namespace, network, interface, port)
    try:
        listening = await asyncio.shield(making)
    except BaseException as error:
        inside.shutdown(wait=False)
        if isinstance(error, asyncio.CancelledError):
            making.add_done_callback(lambda done: None if done.exception() else done.result().close())
        raise
    made = ApiSocket(
        socket=listening,
        address=network.supervisor,
        how="veth",
        bridge=network.interface,
        interface=interface,
        inside=inside,
    )
    try:
        await asyncio.to_thread(_ip, f"link set {interface} master {network.interface}\nlink set {interface} up")
        await asyncio.to_thread(pin_addresses, {interface: derived_mac(IPv4Address(network.supervisor))})
    except BaseException:
        await made.close()
        raise
    return made


def _make_namespace(network: AddonNetwork, interface: str, port: int) -> socket.socket:
    """Runs in its own thread: everything from here on, child processes included, is in the new namespace."""
    try:
        os.unshare(os.CLONE_NEWNET)
    except OSError as error:
        raise _NotHere(f"no network namespace can be made ({error.strerror}): Rooftree does not run as root") from error
    prefix_length = IPv4Network(network.subnet).prefixlen
    _ip(
        "link set lo up\n"
        # The other end is born in the namespace of the daemon's main thread, which is the host's.
        # The address is always the same, so that containers' ARP entries survive a restart of the daemon.
        f"link add api0 address {derived_mac(IPv4Address(network.supervisor))} type veth "
        f"peer name {interface} netns {os.getpid()}\n"
        f"address add {network.supervisor}/{prefix_length} dev api0\n"
        "link set api0 up"
    )
    try:
        return _listen(network.supervisor, port)
    except OSError as error:
        raise _NotHere(f"{network.supervisor} cannot be listened on: {error.strerror}") from error


def _ip(commands: str) -> None:
    try:
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input=commands + "\n",
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise _NotHere("the 'ip' command is not installed (package iproute2)") from error
    except subprocess.TimeoutExpired as error:
        raise _NotHere(f"the 'ip' command did not end within {_COMMAND_SECONDS} s") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        raise _NotHere(f"the 'ip' command failed: {said}")


def _unconnected() -> socket.socket:
    """A socket that is not connected; in the namespace of the thread that makes it, from then on."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def _listen(address: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _cannot_listen(address: str, port: int, error: OSError, reason: str = "") -> Unavailable:
    why = f" A socket of its own was not possible either: {reason}." if reason else ""
    return Unavailable(
        f"Add-ons cannot reach Rooftree: {address}:{port} cannot be listened on ({error.strerror}).{why} "
        "Run Rooftree as root on the engine's host, or end what uses that port."
    )
