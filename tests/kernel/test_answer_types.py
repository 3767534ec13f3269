"""An answer that is not of the declared type is said in a sentence, for whoever wrote the handler."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest
from attrs import frozen

from rooftree import PUBLIC, Media, Plugin, Routes, Stream, Text
from rooftree.http.answer_types import check_of
from rooftree.testing import Client, running_system


@frozen
class Face:
    hour: int


class Hands(TypedDict):
    hour: int


type Faces = list[Face]
type Pair[T] = tuple[T, T]

RIGHT: list[tuple[Any, object]] = [
    (None, None),
    (Any, object()),
    (Face, Face(3)),
    (Face | None, None),
    (Faces, [Face(3)]),
    (Pair[int], (1, 2)),
    (dict[str, int], {"hour": 3}),
    (Mapping[str, int], {"hour": 3}),
    (Sequence[int], (1, 2)),
    (Hands, {"hour": 3}),
    (Literal["day", "night"], "day"),
    (Annotated[Text, Media("text/html")], Text("noon")),
    (float, 3),
    (int, True),
    (Callable[[], int], len),
]
WRONG: list[tuple[Any, object]] = [
    (None, Face(3)),
    (Face, None),
    (Face, {"hour": 3}),
    (Face | None, "noon"),
    (Faces, Face(3)),
    (Pair[int], [1, 2]),
    (dict[str, int], [("hour", 3)]),
    (Hands, Face(3)),
    (Literal["day", "night"], "dusk"),
    (Annotated[Text, Media("text/html")], "noon"),
    (Text | Stream, b"noon"),
    (str, 3),
    (int, 3.5),
]


@pytest.mark.parametrize(("kind", "answer"), RIGHT)
def test_answer_of_the_declared_type_passes(kind: Any, answer: object) -> None:
    assert check_of(kind)(answer)


@pytest.mark.parametrize(("kind", "answer"), WRONG)
def test_answer_of_another_type_does_not(kind: Any, answer: object) -> None:
    assert not check_of(kind)(answer)


async def test_handler_that_answers_something_else_is_named_in_the_log_and_its_client_told_of_a_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    routes = Routes()

    @routes.get("/face", access=PUBLIC)
    def face() -> Face:  # type: ignore[return]  # that is the fault
        Face(3)

    @routes.get("/nothing", access=PUBLIC)
    async def nothing() -> None:
        return Face(3)  # type: ignore[return-value]  # and that

    class Clock(Plugin):
        name = "clock"

        def routes(self) -> Routes:
            return routes

    async with (
        running_system(tmp_path, plugins=[Clock], allow={"route_failed"}) as system,
        Client.over_unix(system) as client,
    ):
        answers = [await client.get("/face"), await client.get("/nothing")]

    assert [answer.status for answer in answers] == [500, 500]
    assert "GET /face: " in caplog.text
    assert "face declares that it returns Face, and returned NoneType" in caplog.text
    assert "nothing declares that it returns NoneType, and returned Face" in caplog.text
    assert re.search(r"and returned Face \(tests/kernel/test_answer_types\.py:\d+, nothing\)", caplog.text)


@pytest.mark.parametrize("access", ["admin", None, type(PUBLIC)])
def test_access_that_is_none_is_refused_where_the_route_is_declared(access: Any) -> None:
    with pytest.raises(TypeError, match=r"GET /clock: access must be made of role\(Role\.ADMIN\), itself\(…\)"):
        Routes().get("/clock", access=access)(lambda: None)
