"""Core's API for add-ons. Each route has its older spelling, ``/homeassistant/…``."""

from __future__ import annotations

from rooftree import NOBODY, PUBLIC, Introduction, Proxied, Routes, Socket, Tail, grant
from rooftree_homeassistant.api_proxy import ApiProxy
from rooftree_homeassistant.api_proxy_sockets import GRANT
from rooftree_proxying import BadGateway

routes = Routes()

TALKS_TO_CORE = grant(GRANT)
_BELOW = "/core/api/{path...}"
_BELOW_OLDER = "/homeassistant/api/{path...}"


@routes.route("GET", "/core/api", access=TALKS_TO_CORE, aliases=("/homeassistant/api",), refuses=(BadGateway,))
def read_root(proxy: ApiProxy) -> Proxied:
    """Whether Core's API is there."""
    return proxy.request("")


@routes.post("/core/api", access=TALKS_TO_CORE, aliases=("/homeassistant/api",), refuses=(BadGateway,))
def write_root(proxy: ApiProxy) -> Proxied:
    """The same for who posts, which Core does not take."""
    return proxy.request("")


@routes.route("GET", _BELOW, access=TALKS_TO_CORE, aliases=(_BELOW_OLDER,), refuses=(BadGateway,))
def read(proxy: ApiProxy, path: Tail) -> Proxied:
    """Ask Core's API; its stream of events, too."""
    return proxy.request(path)


@routes.post(_BELOW, access=TALKS_TO_CORE, aliases=(_BELOW_OLDER,), refuses=(BadGateway,))
def write(proxy: ApiProxy, path: Tail) -> Proxied:
    """Tell Core's API."""
    return proxy.request(path)


@routes.route("DELETE", _BELOW, access=TALKS_TO_CORE, aliases=(_BELOW_OLDER,), refuses=(BadGateway,))
def delete(proxy: ApiProxy, path: Tail) -> Proxied:
    """Delete something of Core's."""
    return proxy.request(path)


@routes.get("/core/api/hassio{path...}", access=NOBODY, aliases=("/homeassistant/api/hassio{path...}",))
def supervisors(path: Tail) -> Proxied:
    """What is between Core and its supervisor: logins, passwords, pushes, and the way round to our own API."""
    raise AssertionError("nobody gets here")


@routes.route(
    "GET",
    "/core/websocket",
    access=PUBLIC,
    aliases=("/core/api/websocket", "/homeassistant/websocket", "/homeassistant/api/websocket"),
    refuses=(BadGateway,),
)
def websocket(proxy: ApiProxy, introduction: Introduction) -> Socket:
    """Core's WebSocket. The token of an add-on comes in its first message, as Core's own clients send theirs."""
    return proxy.socket(introduction)
