"""The OpenAPI document: made from routes, valid, and made anew when the routes are others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import pytest
from attrs import field, frozen
from openapi_spec_validator import OpenAPIV31SpecValidator

from rooftree import (
    NOBODY,
    PUBLIC,
    Binary,
    CallerKind,
    From,
    Header,
    JobCall,
    JobStarted,
    Kernel,
    Media,
    ParsedString,
    Plugin,
    Principal,
    Proxied,
    RawBody,
    Role,
    Routes,
    Service,
    Socket,
    Step,
    Steps,
    Stream,
    Tail,
    Text,
    itself,
    job,
    role,
    session,
    step,
)
from rooftree.interfaces.callers import ADDON
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from rooftree_supervisor.api_documents.openapi import Describer, encoded_document
from rooftree_supervisor.plugin import SupervisorPlugin

MANAGER = role(Role.MANAGER)
SWITCH = [True, False, "1", "yes", "on", "", "0", "no", "off"]
routes = Routes()


class Slug(ParsedString):
    """A note's name."""

    __slots__ = ()

    pattern = "[a-z]{1,8}"

    @classmethod
    def check(cls, text: str) -> None:
        """Anything will do here."""


class Order(StrEnum):
    UP = "up"
    DOWN = "down"


@frozen
class Note:
    """A note."""

    text: str
    """What it says."""
    stars: int = 0


@frozen
class Notes:
    """Notes."""

    notes: list[Note]
    by: dict[str, Note] = field(factory=dict)


@frozen
class Query:
    words: str | None
    order: Order


def _query(
    words: str | None = None, order: Order = Order.UP, seen: Annotated[str | None, Header("X-Seen")] = None
) -> Query:
    return Query(words, order)


class Shelf:
    """A service."""


SHELF = Service[Shelf]("notes.shelf/1")


def shelf_revision(shelf: Shelf) -> str:
    return "1"


@step("notes.burn/1")
class Burn(Step):
    """Burn."""

    async def do(self, run: object) -> None:
        """Nothing burns."""


@job("notes_burn")
async def burn() -> Steps:
    return [Burn()]


@routes.get("/notes", access=PUBLIC, revision=shelf_revision)
def listing(shelf: Shelf) -> Notes:
    """All notes. The newest first.

    And some more.
    """
    return Notes([])


@routes.get("/notes/find", access=MANAGER)
def find(
    shelf: Shelf, caller: Principal, query: Annotated[Query, From(_query)], limit: int = 10, exact: bool = False
) -> list[Note]:
    """Notes with these words.

    :param limit: how many at most
    """
    return []


@routes.get("/notes/{slug}", access=itself("slug", ADDON), aliases=("/note/{slug}", "/n/{slug}"))
def note(slug: Slug) -> Note | None:
    """One note."""
    return None


@routes.post("/notes/{slug}", access=MANAGER | itself("slug", ADDON), max_body=10)
def write(slug: Slug, body: Note) -> None:
    """Write a note."""


@routes.post("/notes/{slug}/burn", access=role(Role.ADMIN, not_on=itself("slug", ADDON)))
def burn_note(slug: Slug) -> JobCall[JobStarted | None]:
    """Burn a note."""
    return burn().in_background()


@routes.get("/notes/{slug}/text", access=MANAGER)
def text(slug: Slug) -> Annotated[Text, Media("text/markdown", "text/plain")]:
    """Its text."""
    return Text("")


@routes.get("/notes/{slug}/picture", access=MANAGER)
def picture(slug: Slug) -> Binary:
    """Its picture."""
    return Binary(b"")


@routes.get("/notes/{slug}/news", access=MANAGER)
def news(slug: Slug) -> Stream | Socket:
    """What happens to it."""
    raise NotImplementedError


@routes.post("/notes/{slug}/attach", access=MANAGER, max_body=5)
def attach(slug: Slug, body: RawBody) -> None:
    """Attach something."""


@routes.route("PUT", "/proxy/{path...}", access=MANAGER)
def proxied(path: Tail, body: RawBody) -> Stream:
    """Hand on."""
    raise NotImplementedError


@routes.get("/proxy/secret{path...}", access=NOBODY)
def closed(path: Tail) -> None:
    """Nobody gets here."""


class NotesPlugin(Plugin):
    """Notes."""

    name = "notes"
    provides = (SHELF,)

    async def setup(self, kernel: Kernel) -> None:
        """Provide the shelf."""
        kernel.provide(SHELF, Shelf())

    def routes(self) -> Routes:
        """All of them."""
        return routes


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The supervisor, and notes."""
    async with running_system(tmp_path, plugins=[SupervisorPlugin, NotesPlugin]) as running:
        yield running


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document of the notes alone."""
    return dict(orjson.loads(encoded_document(("notes", route) for route in routes)))


def operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    return dict(document["paths"][path][method])


def parameters(document: dict[str, Any], method: str, path: str) -> dict[tuple[str, str], dict[str, Any]]:
    listed = operation(document, method, path).get("parameters", [])
    return {(one["in"], one["name"]): one for one in listed}


async def document_of(client: Client) -> dict[str, Any]:
    return dict(orjson.loads((await client.get("/openapi.json")).body))


# --- the whole --------------------------------------------------------------------------------------------------------


def test_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")


async def test_document_of_a_running_system_is_valid_and_served_without_a_token(system: System) -> None:
    async with Client.over_tcp(system) as stranger:
        answer = await stranger.get("/openapi.json")

    served = orjson.loads(answer.body)
    await asyncio.to_thread(OpenAPIV31SpecValidator(served).validate)
    assert answer.headers["Content-Type"] == "application/json"
    assert [tag["name"] for tag in served["tags"]] == ["kernel", "notes", "supervisor"]
    offered = {(entry.route.method, path) for entry in system.server.table.entries for path in entry.route.paths}
    closed_paths = {("GET", "/proxy/secret{path...}")}
    assert {(method.upper(), path) for path, methods in served["paths"].items() for method in methods} == {
        (method, path.replace("...}", "}")) for method, path in offered - closed_paths
    }


async def test_document_is_asked_for_again_only_when_it_changed(system: System) -> None:
    async with Client.over_unix(system) as client:
        first = await client.get("/openapi.json")
        again = await client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
        await client.post("/kernel/v1/plugins/notes/disable")
        without = await client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
        await client.post("/kernel/v1/plugins/notes/enable")
        back = await document_of(client)

    assert (again.status, again.body) == (304, b"")
    assert without.status == 200
    assert not [path for path in orjson.loads(without.body)["paths"] if path.startswith("/notes")]
    assert back == orjson.loads(first.body)


def test_what_makes_the_document_is_not_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys, rooftree_supervisor.plugin as plugin; plugin.SupervisorPlugin().routes(); "
        "print([name for name in ('openapi', 'schemas', 'source_texts') "
        "if f'rooftree_supervisor.api_documents.{name}' in sys.modules])"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


def test_paths_that_are_closed_to_everybody_are_left_out(document: dict[str, Any]) -> None:
    assert [path for path in document["paths"] if "secret" in path] == []


def test_operation_ids_are_unique_and_named_after_plugin_and_handler(document: dict[str, Any]) -> None:
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]

    assert len(set(ids)) == len(ids)
    assert {"notes.listing", "notes.note", "notes.note.alias", "notes.note.alias.2"} <= set(ids)


def test_two_handlers_of_one_name_have_two_operation_ids() -> None:
    doubled = Routes()
    doubled.get("/a", access=PUBLIC)(listing)
    doubled.get("/b", access=PUBLIC)(listing)

    made = orjson.loads(encoded_document(("notes", route) for route in doubled))

    assert {path: one["get"]["operationId"] for path, one in made["paths"].items()} == {
        "/a": "notes.listing",
        "/b": "notes.listing.2",
    }


# --- an operation -----------------------------------------------------------------------------------------------------


def test_docstring_is_summary_and_description(document: dict[str, Any]) -> None:
    told = operation(document, "get", "/notes")

    assert (told["summary"], told["description"]) == (
        "All notes",
        "The newest first.\n\nAnd some more.\n\nWho may call it: public.",
    )


def test_parameters_are_those_that_the_request_is_bound_to(document: dict[str, Any]) -> None:
    assert parameters(document, "get", "/notes/find") == {
        ("query", "words"): {"name": "words", "in": "query", "schema": {"type": "string"}},
        ("query", "order"): {
            "name": "order",
            "in": "query",
            "schema": {"$ref": "#/components/schemas/tests.Order", "default": "up"},
        },
        ("header", "X-Seen"): {"name": "X-Seen", "in": "header", "schema": {"type": "string"}},
        ("query", "limit"): {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "default": 10},
            "description": "how many at most",
        },
        ("query", "exact"): {"name": "exact", "in": "query", "schema": {"enum": SWITCH, "default": False}},
    }


def test_path_part_may_be_self_where_that_is_understood(document: dict[str, Any]) -> None:
    one = parameters(document, "get", "/notes/{slug}")["path", "slug"]
    other = parameters(document, "get", "/notes/{slug}/picture")["path", "slug"]

    assert one["schema"] == {"anyOf": [{"$ref": "#/components/schemas/tests.Slug"}, {"const": "self"}]}
    assert other["schema"] == {"$ref": "#/components/schemas/tests.Slug"}
    assert one["required"] is other["required"] is True
    assert document["components"]["schemas"]["tests.Slug"] == {
        "description": "A note's name.",
        "type": "string",
        "pattern": "^(?:[a-z]{1,8})$",
    }


def test_aliases_are_paths_of_their_own_and_older(document: dict[str, Any]) -> None:
    for alias in ("/note/{slug}", "/n/{slug}"):
        told = operation(document, "get", alias)

        assert told["deprecated"] is True
        assert "An older spelling of `/notes/{slug}`." in told["description"]
    assert "deprecated" not in operation(document, "get", "/notes/{slug}")


def test_rest_of_a_proxied_path_is_a_path_parameter(document: dict[str, Any]) -> None:
    told = operation(document, "put", "/proxy/{path}")

    assert ("path", "path") in parameters(document, "put", "/proxy/{path}")
    assert "`path` is the whole rest of the path, slashes too." in told["description"]


def test_what_is_passed_on_is_described_for_every_method_with_its_session() -> None:
    pages = Routes()

    @pages.route("*", "/pages/{path...}", access=session("page_session", CallerKind("page")))
    def page(path: Tail) -> Proxied:
        """A page."""
        raise NotImplementedError

    @pages.get("/pages/{path...}", access=PUBLIC)
    def plain_page(path: Tail) -> Text:
        """A page as it is."""
        raise NotImplementedError

    document = orjson.loads(encoded_document(("pages", route) for route in pages))
    OpenAPIV31SpecValidator(document).validate()
    methods = document["paths"]["/pages/{path}"]
    assert methods.keys() == {"get", "put", "post", "delete", "options", "head", "patch"}
    assert methods["get"]["security"] == []
    assert methods["patch"]["security"] == [{"page_session": []}]
    assert {"default", "401"} <= methods["patch"]["responses"].keys()
    assert document["components"]["securitySchemes"]["page_session"]["in"] == "cookie"


def test_body_is_described_by_its_model(document: dict[str, Any]) -> None:
    body = operation(document, "post", "/notes/{slug}")["requestBody"]
    raw = operation(document, "post", "/notes/{slug}/attach")["requestBody"]

    assert body == {
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/tests.NoteBody"}}},
        "required": True,
    }
    assert document["components"]["schemas"]["tests.NoteBody"] == {
        "description": "A note.",
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What it says."},
            "stars": {"type": "integer", "default": 0},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    assert raw == {"content": {"application/octet-stream": {}}}


# --- answers ----------------------------------------------------------------------------------------------------------


def good(document: dict[str, Any], method: str, path: str) -> Any:
    return operation(document, method, path)["responses"]["200"]["content"]


def data(document: dict[str, Any], method: str, path: str) -> Any:
    schema = good(document, method, path)["application/json"]["schema"]
    assert schema["properties"]["result"] == {"const": "ok"}
    assert schema["required"] == ["result", "data"]
    return schema["properties"]["data"]


NOTHING = {"type": "object", "maxProperties": 0}


def test_json_is_described_in_its_envelope(document: dict[str, Any]) -> None:
    one = {"$ref": "#/components/schemas/tests.Note"}

    assert data(document, "get", "/notes/find") == {"type": "array", "items": one}
    assert data(document, "get", "/notes/{slug}") == {"anyOf": [one, NOTHING]}
    assert data(document, "post", "/notes/{slug}") == NOTHING


def test_route_that_starts_a_job_can_be_asked_for_its_plan(document: dict[str, Any]) -> None:
    plan = parameters(document, "post", "/notes/{slug}/burn")["query", "plan"]

    assert plan["schema"] == {"enum": SWITCH, "default": False}
    assert data(document, "post", "/notes/{slug}/burn")["anyOf"] == [
        {"$ref": "#/components/schemas/kernel.JobStarted"},
        NOTHING,
        {"$ref": "#/components/schemas/kernel.Plan"},
    ]
    assert ("query", "plan") not in parameters(document, "post", "/notes/{slug}")


def test_what_is_no_json_is_described_by_its_media_type(document: dict[str, Any]) -> None:
    text_schema = {"schema": {"type": "string"}}

    assert good(document, "get", "/notes/{slug}/text") == {"text/markdown": text_schema, "text/plain": text_schema}
    assert good(document, "get", "/notes/{slug}/picture") == {"application/octet-stream": {}}
    assert good(document, "get", "/notes/{slug}/news") == {"text/plain": text_schema}


def test_websocket_is_noted(document: dict[str, Any]) -> None:
    told = operation(document, "get", "/notes/{slug}/news")

    assert "101" in told["responses"]
    assert "It is a WebSocket" in told["description"]


def test_kept_answer_has_a_tag_and_can_be_unchanged(document: dict[str, Any]) -> None:
    responses = operation(document, "get", "/notes")["responses"]

    assert "ETag" in responses["200"]["headers"]
    assert "304" in responses
    assert ("header", "If-None-Match") in parameters(document, "get", "/notes")
    assert "304" not in operation(document, "get", "/notes/find")["responses"]


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/notes", {"200", "304", "400", "401", "503"}),
        ("get", "/notes/find", {"200", "400", "401", "403", "429", "503"}),
        ("get", "/notes/{slug}", {"200", "400", "401", "403", "404", "429", "503"}),
        ("post", "/notes/{slug}", {"200", "400", "401", "403", "404", "409", "413", "415", "429", "503"}),
        ("post", "/notes/{slug}/burn", {"200", "400", "401", "403", "404", "409", "429", "500", "503"}),
    ],
)
def test_errors_are_those_that_the_shape_of_the_route_allows(
    document: dict[str, Any], method: str, path: str, statuses: set[str]
) -> None:
    assert set(operation(document, method, path)["responses"]) == statuses


def test_errors_come_in_their_envelope_and_as_text_where_the_answer_is_text(document: dict[str, Any]) -> None:
    def not_found(path: str) -> dict[str, Any]:
        name = operation(document, "get", path)["responses"]["404"]["$ref"].rpartition("/")[2]
        return dict(document["components"]["responses"][name]["content"])

    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    assert not_found("/notes/{slug}") == {"application/json": error}
    assert not_found("/notes/{slug}/text") == {
        "application/json": error,
        "text/plain": {"schema": {"type": "string"}},
    }
    assert set(document["components"]["schemas"]["Error"]["properties"]) == {
        "result", "message", "error_key", "extra_fields", "job_id"
    }  # fmt: skip


def test_access_is_said_in_words_and_as_security(document: dict[str, Any]) -> None:
    told = operation(document, "post", "/notes/{slug}")

    assert told["x-rooftree-access"] == "role manager or itself (slug)"
    assert "Who may call it: role manager or itself (`slug`)." in told["description"]
    assert told["security"] == [{"bearer": []}, {"token": []}]
    assert operation(document, "get", "/notes")["security"] == []
    assert {one["type"] for one in document["components"]["securitySchemes"].values()} == {"http", "apiKey"}


def test_answer_that_may_be_anything_is_told() -> None:
    loose = Routes()

    @loose.get("/loose", access=PUBLIC)
    def handler() -> dict[str, Any]:
        return {}

    describer = Describer()
    describer.document([("notes", route) for route in loose], "1")

    assert set(describer.schemas.untyped) == {"notes GET /loose.{}"}
