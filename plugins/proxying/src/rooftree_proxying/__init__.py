"""Requests passed on to somebody else's server: HTTP of every kind, and WebSockets.

A route answers :class:`~rooftree.Proxied`, and what serves it calls :func:`forward` with the fields that the upstream
is to see. A library, not a plugin.
"""

from rooftree_proxying.brief_forwarding import begin_forward
from rooftree_proxying.forwarding import forward
from rooftree_proxying.header_fields import (
    canonical,
    end_to_end,
    options,
    values,
    without,
    without_cookie,
    without_set_cookie,
)
from rooftree_proxying.memo import Memo
from rooftree_proxying.places import Places, TooManyOpen
from rooftree_proxying.requests import ForwardedRequest, Written
from rooftree_proxying.upstreams import Address, BadGateway, UpstreamConnection, Upstreams

__all__ = [
    "Address",
    "BadGateway",
    "ForwardedRequest",
    "Memo",
    "Places",
    "TooManyOpen",
    "UpstreamConnection",
    "Upstreams",
    "Written",
    "begin_forward",
    "canonical",
    "end_to_end",
    "forward",
    "options",
    "values",
    "without",
    "without_cookie",
    "without_set_cookie",
]
