"""Listeners, routes, what their handlers take and answer."""

from rooftree.http.answers import Binary, Media, Socket, StateChange, Stream, Text
from rooftree.http.begun import Begun, Ending
from rooftree.http.binding import Endpoint
from rooftree.http.exchanges import OURS, Exchange, Field, Proxied
from rooftree.http.handler_inputs import CallEnds, From, Header, Introduction, RawBody
from rooftree.http.paths import FreeText, Tail
from rooftree.http.routes import ANY_METHOD, Route, Routes, shape
from rooftree.http.senders import MAX_TOKEN
from rooftree.http.server import HttpServer
from rooftree.http.signature import SWITCH, Input, Source, answer_of, inputs, is_download, without_none
from rooftree.http.sockets import stop_taking
from rooftree.http.table import DuplicateRoute, Entry, RouteTable
from rooftree.http.traffic import BOUNDS_S, TRAFFIC, Answers, RouteOutcome
from rooftree.http.tunnels import Tunnel

__all__ = [
    "ANY_METHOD",
    "BOUNDS_S",
    "MAX_TOKEN",
    "OURS",
    "SWITCH",
    "TRAFFIC",
    "Answers",
    "Begun",
    "Binary",
    "CallEnds",
    "DuplicateRoute",
    "Ending",
    "Endpoint",
    "Entry",
    "Exchange",
    "Field",
    "FreeText",
    "From",
    "Header",
    "HttpServer",
    "Input",
    "Introduction",
    "Media",
    "Proxied",
    "RawBody",
    "Route",
    "RouteOutcome",
    "RouteTable",
    "Routes",
    "Socket",
    "Source",
    "StateChange",
    "Stream",
    "Tail",
    "Text",
    "Tunnel",
    "answer_of",
    "inputs",
    "is_download",
    "shape",
    "stop_taking",
    "without_none",
]
