"""Requests passed on to somebody else's server: HTTP of every kind, and WebSockets.

A route answers :class:`~rooftree.Proxied`, and what serves it calls :func:`forward` with the fields that the upstream
is to see. A library, not a plugin.
"""

from rooftree_proxying.forwarding import ForwardedRequest, forward
from rooftree_proxying.header_fields import (
    canonical,
    end_to_end,
    options,
    values,
    without,
    without_cookie,
    without_set_cookie,
)
from rooftree_proxying.upstreams import Address, BadGateway, UpstreamConnection, Upstreams

__all__ = [
    "Address",
    "BadGateway",
    "ForwardedRequest",
    "UpstreamConnection",
    "Upstreams",
    "canonical",
    "end_to_end",
    "forward",
    "options",
    "values",
    "without",
    "without_cookie",
    "without_set_cookie",
]
