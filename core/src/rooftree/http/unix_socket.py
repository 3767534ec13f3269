"""The unix socket: who may reach it, and who is at its other end."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Final

from aiohttp import web

from rooftree.principal import Principal, Role

_PEER: Final = struct.Struct("3i")  # struct ucred, unix(7): pid, uid, gid


def bound_unix(path: Path) -> socket.socket:
    """A socket that listens there, for the daemon's user and group. Blocks: called in a thread."""
    path.unlink(missing_ok=True)  # ours: at the top of the data folder, or where the operator says
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o660)  # before it listens: nobody can have connected yet  # ours: made in the line above
        bound.listen(128)
    except BaseException:
        bound.close()
        raise
    return bound


def administrator(request: web.BaseRequest) -> Principal | None:
    """The administrator behind a unix socket, if it is one (SO_PEERCRED, socket(7))."""
    if request.transport is None:
        return None
    connection = request.transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return Principal("local", str(uid), Role.ADMIN) if uid in {0, os.getuid()} else None
