"""Listeners, routes, what their handlers take and answer."""

from rooftree.http.answers import Binary, Media, Socket, StateChange, Stream, Text
from rooftree.http.binding import Endpoint
from rooftree.http.paths import FreeText, Tail
from rooftree.http.routes import From, Header, RawBody, Route, Routes, shape
from rooftree.http.server import MAX_TOKEN, HttpServer
from rooftree.http.signature import SWITCH, Input, Source, answer_of, inputs, without_none
from rooftree.http.table import DuplicateRoute, Entry, RouteTable
from rooftree.http.traffic import BOUNDS_S, TRAFFIC, Answers, RouteOutcome

__all__ = [
    "BOUNDS_S",
    "MAX_TOKEN",
    "SWITCH",
    "TRAFFIC",
    "Answers",
    "Binary",
    "DuplicateRoute",
    "Endpoint",
    "Entry",
    "FreeText",
    "From",
    "Header",
    "HttpServer",
    "Input",
    "Media",
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
    "answer_of",
    "inputs",
    "shape",
    "without_none",
]
