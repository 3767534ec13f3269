"""The address templates of add-on configurations: ``webui`` and ``watchdog``.

``[HOST]`` stands for where the add-on is reached, ``[PORT:8080]`` for the host port that the container's TCP port is
published on, ``[PROTO:ssl]`` for https where the option ``ssl`` is on and http where it is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from rooftree_store.readers import matching

_SUFFIX: Final = r"(?P<suffix>[^\x00-\x1f\x7f]*)"
_WEBUI: Final = re.compile(
    rf"(?:(?P<scheme>https?)|\[PROTO:(?P<option>[\w-]+)\])://\[HOST\]:\[PORT:(?P<port>[0-9]{{1,5}})\]{_SUFFIX}"
)
_WATCHDOG: Final = re.compile(
    r"(?:(?P<scheme>https?|tcp)|\[PROTO:(?P<option>[\w-]+)\])://\[HOST\]:"
    rf"(?:\[PORT:(?P<mapped>[0-9]{{1,5}})\]|(?P<port>[0-9]{{1,5}})){_SUFFIX}"
)

webui_template = matching(_WEBUI, "http://[HOST]:[PORT:8080]/ with http, https or [PROTO:<option>]")
"""The reader of ``webui``."""

watchdog_template = matching(
    _WATCHDOG, "http://[HOST]:[PORT:8080]/ with http, https, tcp or [PROTO:<option>], and [PORT:<n>] or a number"
)
"""The reader of ``watchdog``."""


def resolve_webui(
    template: str, *, ports: Mapping[str, int | None], options: Mapping[str, Any], host_network: bool = False
) -> str | None:
    """The address of an add-on's own web page, with ``[HOST]`` left for the client to fill in.

    :param ports: container port (``8080/tcp``) to host port; ``None`` for one that is not published
    :returns: ``None`` where the port is not published: the reference answers an address with the port ``None``
    """
    match = _parsed(_WEBUI, template)
    port = _host_port(match["port"], ports)
    if port is None:
        if not host_network:
            return None
        port = int(match["port"])
    return f"{_scheme(match, options)}://[HOST]:{port}{_path(match['suffix'])}"


@frozen
class WatchdogTarget:
    """What to ask whether an add-on is well: a connection for ``tcp``, a GET otherwise."""

    scheme: str
    host: str
    port: int
    suffix: str = ""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{_path(self.suffix)}"


def resolve_watchdog(
    template: str,
    *,
    host: str,
    host_network: bool,
    ports: Mapping[str, int | None],
    options: Mapping[str, Any],
) -> WatchdogTarget:
    """Where to ask.

    :param host: the container's address, or the network's gateway for an add-on on the host's network
    :param ports: as for :func:`resolve_webui`; they count on the host's network only
    """
    match = _parsed(_WATCHDOG, template)
    port = int(match["mapped"] or match["port"])
    if host_network and match["mapped"]:
        port = _host_port(match["mapped"], ports) or port
    return WatchdogTarget(_scheme(match, options), host, port, match["suffix"])


def _parsed(pattern: re.Pattern[str], template: str) -> re.Match[str]:
    match = pattern.fullmatch(template)
    if match is None:
        raise ValueError(f"{template!r} is not an address template; configurations are checked when they are read")
    return match


def _host_port(port: str, ports: Mapping[str, int | None]) -> int | None:
    """The published port; one that the configuration does not list is reached under its own number."""
    for key in (f"{port}/tcp", port):
        if key in ports:
            return ports[key]
    return int(port)


def _path(suffix: str) -> str:
    """What stands behind the port, as nothing but a path: ``:8080@example.com`` would be another host's address."""
    return suffix if suffix[:1] in {"", "/", "?", "#"} else f"/{suffix}"


def _scheme(match: re.Match[str], options: Mapping[str, Any]) -> str:
    if match["option"] is None:
        return match["scheme"]
    return "https" if options.get(match["option"]) else "http"
