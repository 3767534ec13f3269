"""What the parameters of a handler stand for, and what it answers, told by its signature alone.

:mod:`rooftree.http.binding` reads requests by this, and whoever describes routes to people and programs describes them
by this: there is no second opinion on what a parameter is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from attrs import field, frozen

from rooftree.http.answers import Media
from rooftree.http.handler_inputs import CallEnds, From, Header, Introduction, RawBody
from rooftree.http.routes import Route
from rooftree.jobs import JobCall
from rooftree.principal import Principal
from rooftree.services import Parameter, parameters, type_hints

SWITCH: Final[Mapping[str, bool]] = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
"""What a switch may be in a query, in upper or lower case: ``?verbose`` alone is on."""


_PLAIN: Final = frozenset({str, int, float, bool})
"""Types that no service has."""


class Source(enum.Enum):
    """Where a parameter comes from."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    BODY = "body"
    """The JSON body, as the parameter's type."""
    RAW_BODY = "raw body"
    CALLER = "caller"
    INTRODUCTION = "introduction"
    """How the caller says later who it is."""
    ENDS = "ends"
    """Where the call comes from, and where it has reached us."""
    TOGETHER = "together"
    """Made from several others."""
    SERVICE = "service"


@frozen
class Input:
    """One parameter and what it stands for."""

    parameter: Parameter
    source: Source
    name: str
    """What it is called in the request: a header's name is not the parameter's."""
    make: Callable[..., Any] | None = None
    """What makes it from :attr:`inner`, where it is made from several others."""
    inner: tuple[Input, ...] = field(default=())

    @property
    def values(self) -> tuple[Input, ...]:
        """The inputs that travel by themselves: this one, or those that it is made from."""
        return tuple(value for part in self.inner for value in part.values) if self.inner else (self,)


_inputs: WeakKeyDictionary[Callable[..., Any], dict[str, tuple[Input, ...]]] = WeakKeyDictionary()
"""By the handler and the path: a plugin that is started again has the same."""


def inputs(route: Route) -> tuple[Input, ...]:
    """What the parameters of a route's handler stand for; raises ``TypeError`` where one can't be told."""
    known = _inputs.setdefault(route.handler, {})
    if route.path not in known:
        names = route.parts(route.path)
        known[route.path] = tuple(
            Input(parameter, Source.BODY, parameter.name)
            if parameter.name == "body" and parameter.kind is not RawBody
            else _input(parameter, names)
            for parameter in parameters(route.handler)
        )
    return known[route.path]


def without_none(kind: Any) -> tuple[Any, ...]:
    """The members of a union but ``None``; any other type alone."""
    members = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    return tuple(member for member in members if member is not type(None))


def _input(parameter: Parameter, names: Collection[str]) -> Input:
    name, kind = parameter.name, parameter.kind
    if kind is RawBody:
        return Input(parameter, Source.RAW_BODY, name)
    if name in names:
        return Input(parameter, Source.PATH, name)
    if kind in {Principal, Principal | None}:
        return Input(parameter, Source.CALLER, name)
    if kind is Introduction:
        return Input(parameter, Source.INTRODUCTION, name)
    if kind is CallEnds:
        return Input(parameter, Source.ENDS, name)
    if get_origin(kind) is Annotated:
        return _marked(parameter, names)
    return Input(parameter, Source.SERVICE if parameter.required else Source.QUERY, name)


def _marked(parameter: Parameter, names: Collection[str]) -> Input:
    """What a parameter stands for whose type carries a mark."""
    for mark in get_args(parameter.kind)[1:]:
        if isinstance(mark, Header):
            return Input(parameter, Source.HEADER, mark.name)
        if isinstance(mark, From):
            inner = tuple(_input(parameter, names) for parameter in parameters(mark.make))
            unread = ", ".join(
                parameter.name
                for parameter in inner
                if parameter.source is Source.SERVICE and parameter.parameter.kind in _PLAIN
            )
            if unread:
                raise TypeError(f"parameter {parameter.name}: {unread} needs a default, to be a query value")
            return Input(parameter, Source.TOGETHER, parameter.name, mark.make, inner)
    raise TypeError(f"parameter {parameter.name}: Annotated without a Header or From")


def answer_of(route: Route) -> tuple[bool, Any]:
    """Whether a route starts a job, and what it answers then or otherwise, by its handler's signature:
    ``JobCall[JobStarted | None]``, or ``JobCall[None] | None`` where there may be nothing to do."""
    answer = type_hints(route.handler).get("return", Any)
    members = get_args(answer) if get_origin(answer) in {Union, UnionType} else (answer,)
    calls = [member for member in members if get_origin(member) is JobCall]
    if not calls:
        return False, answer
    return True, get_args(calls[0])[0]


def is_download(answer: Any) -> bool:
    """Whether an answer is said (:class:`~rooftree.http.answers.Media`) to be a file for programs: its errors are in
    the envelope, while those of texts and pictures are the bare sentence."""
    marks = answer.__metadata__ if get_origin(answer) is Annotated else ()
    types = [kind for mark in marks if isinstance(mark, Media) for kind in mark.types]
    return bool(types) and all(kind.startswith("application/") for kind in types)


def unmarked(answer: Any) -> Any:
    """An answer's type without what is said of it for the API's document."""
    if get_origin(answer) is Annotated:
        return unmarked(get_args(answer)[0])
    if get_origin(answer) in {Union, UnionType}:
        return Union[tuple(unmarked(alternative) for alternative in get_args(answer))]  # noqa: UP007  # of as many as there are
    return answer
