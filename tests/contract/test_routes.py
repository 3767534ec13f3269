"""Our routes beside the contract's: none of ours is misspelt, and what is not offered yet is on record here."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

import yaml

from rooftree import Plugin
from rooftree.plugins.loading import GROUP
from tests.requirements import SHARED, needs_shared
from tests.workspace import plugins

API = SHARED / "api"

pytestmark = needs_shared(API)

NOT_YET = {
    "POST /supervisor/reload": "the supervisor, whole",
    "POST /supervisor/repair": "the supervisor, whole",
    "POST /supervisor/restart": "the supervisor, whole",
}
"""Endpoints that are not offered yet, of domains of which something is, and what they wait for."""

_VERBS = ("GET", "POST", "DELETE")

ONE_OF_MANY = {
    "GET /os/boards/yellow": "GET /os/boards/{}",
    "POST /os/boards/yellow": "POST /os/boards/{}",
    "GET /os/boards/green": "GET /os/boards/{}",
    "POST /os/boards/green": "POST /os/boards/{}",
    **{f"{verb} /services/{name}": f"{verb} /services/{{}}" for verb in _VERBS for name in ("mqtt", "mysql")},
}
"""Endpoints of one board, or of one service, and the route for all of them that they go through."""

_OF_CORE = (
    "GET info",
    "GET stats",
    "POST options",
    *(f"POST {verb}" for verb in ("start", "stop", "restart", "rebuild", "check", "update")),
    *(f"GET logs{more}" for more in ("", "/follow", "/latest", "/boots/{}", "/boots/{}/follow")),
)
_CORE = ("core", "homeassistant")
_CORES_API = "all of Core's API, by all the names that it has had"

BEYOND = {
    **{f"{route.replace(' ', ' /homeassistant/')}": "the older name of Core's routes" for route in _OF_CORE},
    "POST /os/boards/{}": "every board may have settings, also one that the contract does not know",
    **{f"{verb} /services/{{}}": "a plugin may add a service that the contract does not know" for verb in _VERBS},
    "* /ingress/{}/{}": "add-ons' pages, for browsers; the contract has the calls of clients",
    "GET /openapi.json": "the document of all this",
    **{f"{verb} /{core}/api/{{}}": _CORES_API for core in _CORE for verb in _VERBS},
    **{f"GET /{core}/api/hassio{{}}": "what of it is closed for everybody" for core in _CORE},
    **{f"GET /{core}/api/websocket": _CORES_API for core in _CORE},
    "GET /homeassistant/websocket": _CORES_API,
    **{f"{verb} /homeassistant/api": _CORES_API for verb in ("GET", "POST")},
    "GET /store/addons/{}/{}": "older clients name the version",
    "POST /store/addons/{}/install/{}": "older clients name the version",
    "POST /store/addons/{}/update/{}": "older clients name the version",
}
"""What we offer beside the contract and our own ``/kernel/v1``, and why."""


def shape(method: str, path: str) -> str:
    """A route without the names of its parts."""
    return f"{method} {re.sub(r'\{[^}]*\}', '{}', path)}"


def offered() -> set[str]:
    """Every route of the plugins, aliases too."""
    classes: list[type[Plugin]] = [
        EntryPoint(name, value, GROUP).load()
        for domain in plugins()
        for name, value in domain.entry_points.get(GROUP, {}).items()
    ]
    declared = [route for plugin in classes for route in plugin().routes()]
    return {shape(route.method, path) for route in declared for path in route.paths}


def contract(*files: str) -> list[dict[str, str]]:
    """The contract's endpoints."""
    return [entry for file in files for entry in yaml.safe_load((API / file).read_text())]


def endpoints() -> list[tuple[str, str]]:
    """The contract's endpoints, each with its domain."""
    return [(entry["domain"], shape(entry["method"], entry["path"])) for entry in contract("endpoints.yaml")]


def begun_domains() -> set[str]:
    """The domains of the contract of which something is offered."""
    ours = offered()
    return {domain for domain, endpoint in endpoints() if endpoint in ours}


def test_every_endpoint_is_offered_or_on_record() -> None:
    ours, begun = offered(), begun_domains()

    missing = {endpoint for domain, endpoint in endpoints() if domain in begun} - ours
    assert missing == {*NOT_YET, *ONE_OF_MANY}
    assert set(ONE_OF_MANY.values()) <= ours


def test_every_route_of_ours_is_in_the_contract() -> None:
    known = {shape(entry["method"], entry["path"]) for entry in contract("endpoints.yaml", "client-extras.yaml")}

    ours = {route for route in offered() if " /kernel/v1/" not in route}
    assert ours - known == set(BEYOND)
