"""The OpenAPI 3.1 document of everything that runs, made from the routes as they are declared.

Nothing is written twice: what a parameter is comes from the kernel, which binds it by the same description; types come
from :mod:`.schemas`; words from docstrings; who may call from the route's access.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import orjson

from rooftree import NOBODY, PUBLIC, Binary, Media, Plan, Proxied, Role, Socket, Stream, Text
from rooftree.errors import (
    CodingUnsupported,
    Conflict,
    ExtraFields,
    Failed,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    RooftreeError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from rooftree.http import ANY_METHOD, SWITCH, Input, Route, Source, answer_of, inputs, is_download, without_none
from rooftree.interfaces.callers import TOKEN_HEADERS
from rooftree.principal import INCLUDES
from rooftree_supervisor.api_documents.schemas import Schema, Schemas, Way
from rooftree_supervisor.api_documents.source_texts import SourceTexts, as_markdown, of_function

JSON: Final = "application/json"
_WHOLE: Final = {
    Text: ("text/plain",),
    Stream: ("text/plain",),
    Binary: ("application/octet-stream",),
    Proxied: ("*/*",),
}
"""Answers that are no JSON, with their media types unless the handler says others."""
_ERRORS: Final[tuple[type[RooftreeError], ...]] = (
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    CodingUnsupported,
    TooLarge,
    RateLimited,
    Failed,
    Unavailable,
)
_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch")
"""What stands for any method: OpenAPI has no word for it."""
_NOT_PARAMETERS: Final = {"accept", "content-type", "authorization"}
"""Headers that OpenAPI says in other places (3.1.1, Parameter Object)."""
_SWITCH: Final = [True, False, *(word for word in SWITCH if word not in {"true", "false"})]
"""The values of a switch in a query; as text, the first two are two of the words."""
_SELF: Final = "The word `self` stands for the add-on that calls."

_ABOUT: Final = """\
Made from the routes of the plugins that run.

Answers in JSON come in an envelope: `{"result": "ok", "data": …}`, and where there is nothing to say `data` is `{}`.
Errors are `{"result": "error", "message": …}`, where there is more to say with `error_key`, `extra_fields` and
`job_id`; routes that answer text or pictures send the bare message instead, but for what is refused at the door.

Besides what is listed at each route: a path that exists answers 405 to a method that it does not offer, with the header
`Allow`; every GET can be asked with HEAD; a request that cannot be read is 400, one whose head is too long 431. Paths
have one spelling, and any other is refused with 400.

`x-rooftree-access` says who may call a route. The roles, each with those that it includes: """


def encoded_document(routes: Iterable[tuple[str, Route]]) -> bytes:
    """The document as it is sent. Reads sources and metadata from the disk: call it in a thread."""
    return orjson.dumps(Describer().document(routes, version("rooftree")))


class Describer:
    """Makes one document."""

    def __init__(self) -> None:
        self.schemas = Schemas(SourceTexts())
        self._responses: Schema = {}
        self._ids: Counter[str] = Counter()
        self._sessions: Schema = {}
        """The security schemes of sessions, by their cookies."""

    def document(self, routes: Iterable[tuple[str, Route]], own_version: str) -> Schema:
        """The whole document.

        :param routes: each with the plugin that it belongs to
        """
        shown = [(owner, route) for owner, route in routes if route.access is not NOBODY]
        for owner, route in shown:  # first what is given, so that its classes have the plain names
            with self.schemas.inside(f"{owner} {route.method} {route.path}"):
                self._data(_answer(route))
        paths: Schema = {}
        for owner, route in shown:
            with self.schemas.inside(f"{owner} {route.method} {route.path}"):
                for path in route.paths:
                    template = path.replace("...}", "}")
                    operations = paths.setdefault(template, {})
                    if route.method != ANY_METHOD:
                        operations[route.method.lower()] = self._operation(owner, route, path)
        for owner, route in shown:  # what is declared for one method goes first
            if route.method == ANY_METHOD:
                for path in route.paths:
                    operations = paths.setdefault(path.replace("...}", "}"), {})
                    for method in (method for method in _METHODS if method not in operations):
                        operations[method] = self._operation(owner, route, path)
        roles = ", ".join(f"`{role}`" + _included(role) for role in Role)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Rooftree",
                "version": own_version,
                "description": f"{_ABOUT}{roles}.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": owner} for owner in sorted({owner for owner, _ in shown})],
            "paths": paths,
            "components": {
                "schemas": dict(sorted(self.schemas.components.items())),
                "responses": dict(sorted(self._responses.items())),
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of Rooftree."},
                    "token": {
                        "type": "apiKey",
                        "in": "header",
                        "name": TOKEN_HEADERS[0],
                        "description": "The same token, in a header of its own.",
                    },
                    **self._sessions,
                },
            },
        }

    # --- one operation ------------------------------------------------------------------------------------------------

    def _operation(self, owner: str, route: Route, path: str) -> Schema:
        text, named = of_function(route.handler)
        summary, _, rest = text.partition("\n\n")
        head, stop, more = " ".join(summary.split()).partition(". ")
        said = [part for part in (more, rest.strip(), *_remarks(route, path)) if part]
        operation: Schema = {
            "tags": [owner],
            "operationId": self._operation_id(owner, route, path),
            "summary": head.removesuffix(".") if not stop else head,
            "description": "\n\n".join(said),
            "x-rooftree-access": str(route.access),
        }
        if path != route.path:
            operation["deprecated"] = True
        values = [value for taken in inputs(route) for value in taken.values]
        if parameters := [*self._parameters(route, path, values, named)]:
            operation["parameters"] = parameters
        if body := self._body(route, values):
            operation["requestBody"] = body
        operation["responses"] = self._answers(route) | self._refusals(route, path, values)
        operation["security"] = self._security(route)
        return operation

    def _security(self, route: Route) -> list[Schema]:
        cookie = route.access.session
        if cookie is None:
            return [] if route.access is PUBLIC else [{"bearer": []}, {"token": []}]
        self._sessions[cookie.cookie] = {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie.cookie,
            "description": "A session.",
        }
        return [{cookie.cookie: []}]

    def _operation_id(self, owner: str, route: Route, path: str) -> str:
        wanted = f"{owner}.{route.handler.__name__}" + (".alias" if path != route.path else "")
        self._ids[wanted] += 1
        return wanted if self._ids[wanted] == 1 else f"{wanted}.{self._ids[wanted]}"

    def _parameters(self, route: Route, path: str, values: Sequence[Input], named: dict[str, str]) -> Iterator[Schema]:
        selves = route.access.self_parts
        for value in values:
            kind, name = value.parameter.kind, value.name
            text = named.get(value.parameter.name)
            told = {"description": text} if text else {}
            match value.source:
                case Source.PATH:
                    schema = self.schemas.of(kind, Way.TAKEN)
                    if name in selves:
                        schema, told = {"anyOf": [schema, {"const": "self"}]}, {"description": _SELF}
                    yield {"name": name, "in": "path", "required": True, "schema": schema} | told
                case Source.QUERY:
                    yield {"name": name, "in": "query", "schema": self._query_schema(value)} | told
                case Source.HEADER if name.lower() not in _NOT_PARAMETERS:
                    yield {"name": name, "in": "header", "schema": {"type": "string"}} | told
        for name in sorted(route.parts(path) - {value.name for value in values if value.source is Source.PATH}):
            yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        if answer_of(route)[0]:
            yield {
                "name": "plan",
                "in": "query",
                "schema": {"enum": _SWITCH, "default": False},
                "description": "Answer with what would be done, and do nothing of it.",
            }
        if route.revision is not None:
            yield {
                "name": "If-None-Match",
                "in": "header",
                "schema": {"type": "string"},
                "description": "The `ETag` of an answer that is there already.",
            }

    def _query_schema(self, value: Input) -> Schema:
        kind = without_none(value.parameter.kind)[0]
        schema = {"enum": _SWITCH} if kind is bool else self.schemas.of(kind, Way.TAKEN)
        default = value.parameter.default
        return schema if default is None else schema | {"default": default}

    def _body(self, route: Route, values: Sequence[Input]) -> Schema:
        for value in values:
            if value.source is Source.RAW_BODY:
                return {"content": {"application/octet-stream": {}}}
            if value.source is Source.BODY:
                with self.schemas.inside("body"):
                    schema = self.schemas.of(value.parameter.kind, Way.TAKEN)
                component = self.schemas.components.get(schema.get("$ref", "").rpartition("/")[2], schema)
                return {"content": {JSON: {"schema": schema}}, "required": "required" in component}
        return {}

    # --- answers ------------------------------------------------------------------------------------------------------

    def _answers(self, route: Route) -> Schema:
        answer = _answer(route)
        responses: Schema = {"200": {"description": "Done.", "content": self._content(answer, route)}}
        if Proxied in _members(answer):
            responses["default"] = {"description": "Whatever it answers to whom this is passed on.",
                                    "content": {"*/*": {}}}  # fmt: skip
        if Socket in _members(answer):
            responses["101"] = {"description": "A WebSocket, where the request asks for one."}
        if route.revision is not None:
            tag = {"description": "Names this answer, until it changes.", "schema": {"type": "string"}}
            responses["200"]["headers"] = {"ETag": tag}
            responses["304"] = {"description": "The answer is still the one that the client has.",
                                "headers": {"ETag": tag}}  # fmt: skip
        return responses

    def _content(self, answer: Any, route: Route) -> Schema:
        content: Schema = {}
        for member in _split(answer):
            kind = _bare(member)
            if kind in _WHOLE:
                for media in _media(member) or _WHOLE[kind]:
                    content[media] = {} if kind in {Binary, Proxied} else {"schema": {"type": "string"}}
        data = self._data(answer)
        if answer_of(route)[0]:
            data = [*data, self.schemas.of(Plan, Way.GIVEN)]
        if data:
            content[JSON] = {"schema": _enveloped(data[0] if len(data) == 1 else {"anyOf": data})}
        return content

    def _data(self, answer: Any) -> list[Schema]:
        """The schemas of what may be in the envelope; none for an answer that is no JSON."""
        kinds = [kind for kind in _split(answer) if _bare(kind) not in {*_WHOLE, Socket}]
        schemas = [self.schemas.of(kind, Way.GIVEN) for kind in kinds if kind is not type(None)]
        return schemas if len(schemas) == len(kinds) else [*schemas, {"type": "object", "maxProperties": 0}]

    def _refusals(self, route: Route, path: str, values: Sequence[Input]) -> Schema:
        """The errors that this route can answer, as the kernel and the shape of the route have it."""
        changes = route.method != "GET"
        can = {
            Invalid: True,
            Unauthenticated: True,  # also where everybody may call: for two tokens that differ
            Forbidden: route.access is not PUBLIC,
            NotFound: bool(route.parts(path)),
            Conflict: changes,
            TooLarge: any(value.source in {Source.BODY, Source.RAW_BODY} for value in values),
            CodingUnsupported: any(value.source in {Source.BODY, Source.RAW_BODY} for value in values),
            RateLimited: route.access is not PUBLIC,
            Failed: answer_of(route)[0],
            Unavailable: True,
        }
        answer = _answer(route)
        as_text = not {Text, Binary, Stream, Socket, Proxied}.isdisjoint(_members(answer)) and not is_download(answer)
        likely = [kind for kind in _ERRORS if can[kind] or kind in route.refuses]
        documented = {kind.status: kind for kind in (*route.refuses, *likely)}
        return {str(status): self._refusal(documented[status], as_text) for status in sorted(documented)}

    def _refusal(self, kind: type[RooftreeError], as_text: bool) -> Schema:
        name = kind.__name__ + ("OrText" if as_text else "")
        if name not in self._responses:
            content: Schema = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
            if as_text:
                content["text/plain"] = {"schema": {"type": "string"}}
            self._responses[name] = {"description": as_markdown(kind.__doc__ or ""), "content": content}
            if kind in {RateLimited, Unavailable}:
                self._responses[name]["headers"] = {
                    "Retry-After": {
                        "description": "Seconds after which it is worth to try again.",
                        "schema": {"type": "integer"},
                    }
                }
            self.schemas.of(ExtraFields, Way.GIVEN)
            self.schemas.components.setdefault("Error", _ERROR)
        return {"$ref": f"#/components/responses/{name}"}


_ERROR: Final[Schema] = {
    "type": "object",
    "description": "What went wrong.",
    "properties": {
        "result": {"const": "error"},
        "message": {
            "type": "string",
            "description": "One sentence for people: what happened, and what to do about it.",
        },
        "error_key": {"type": "string", "description": "Tells cases apart, for programs."},
        "extra_fields": {"$ref": "#/components/schemas/kernel.ExtraFields"},
        "job_id": {"type": "string", "description": "The job in which it happened."},
    },
    "required": ["result", "message"],
}


def _enveloped(data: Schema) -> Schema:
    properties = {"result": {"const": "ok"}, "data": data}
    return {"type": "object", "properties": properties, "required": ["result", "data"]}


def _answer(route: Route) -> Any:
    return answer_of(route)[1]


def _split(answer: Any) -> Sequence[Any]:
    """The members of an answer that is a union, or the answer alone."""
    return get_args(answer) if get_origin(answer) in {Union, UnionType} else (answer,)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _members(answer: Any) -> set[Any]:
    return {_bare(member) for member in _split(answer) if isinstance(_bare(member), type)}


def _media(kind: Any) -> tuple[str, ...]:
    """The media types that an answer's mark names."""
    marks = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((mark.types for mark in marks if isinstance(mark, Media)), ())


def _included(role: Role) -> str:
    included = [f"`{other}`" for other in Role if other is not role and role in INCLUDES[other]]
    return f" ({', '.join(included)})" if included else ""


def _remarks(route: Route, path: str) -> Iterator[str]:
    """What is worth to be said of a route in words."""
    if path != route.path:
        yield f"An older spelling of `{route.path}`."
    if Socket in _members(_answer(route)):
        yield "It is a WebSocket where the request asks for one (RFC 6455)."
    if route.tail(path) is not None:
        yield f"`{route.tail(path)}` is the whole rest of the path, slashes too."
    yield f"Who may call it: {re.sub(r'\((\w+)\)', r'(`\1`)', str(route.access))}."
