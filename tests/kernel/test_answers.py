"""The envelope, status codes, kept answers, and how the server behaves around a request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import aiohttp
import pytest
import pytest_asyncio
from attrs import frozen

from rooftree import (
    KNOWN,
    PUBLIC,
    Binary,
    Conflict,
    Failed,
    Forbidden,
    Invalid,
    Kernel,
    Media,
    NotFound,
    Plugin,
    RateLimited,
    Role,
    RooftreeError,
    Routes,
    Service,
    Text,
    TooLarge,
    Unauthenticated,
    Unavailable,
    role,
)
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from tests.kernel.raw_http import exchange, send

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one system serves all; what changes says so

routes = Routes()


@frozen
class Note:
    text: str
    written: datetime


@routes.get("/note", access=PUBLIC)
def note() -> Note:
    return Note("milk", datetime(2024, 1, 2, tzinfo=UTC))


@routes.get("/notes", access=PUBLIC)
async def notes() -> list[Note]:
    return [note()]


@routes.get("/numbers", access=PUBLIC)
def numbers() -> dict[str, int]:
    return {"one": 1}


@routes.get("/maybe", access=PUBLIC)
def maybe() -> Note | None:
    return None


@routes.post("/nothing", access=PUBLIC)
def nothing() -> None:
    return None


@routes.get("/text", access=PUBLIC)
def text() -> Text:
    return Text("grüß")


@routes.get("/text/broken", access=PUBLIC)
def broken_text() -> Text:
    raise NotFound("There is no such text")


@routes.get("/file/broken", access=PUBLIC)
def broken_file() -> Annotated[Binary, Media("application/tar")]:
    raise NotFound("There is no such file")


@routes.get("/picture", access=PUBLIC)
def picture() -> Binary:
    return Binary(b"\x89PNG", "image/png")


class Special(Conflict):
    error_key = "special_error"


class WrongBadge(Unauthenticated):
    challenge = 'Basic realm="the cellar"'


ERRORS: dict[str, Exception] = {
    "stranger": Unauthenticated("Who are you?"),
    "wrong_badge": WrongBadge("That badge is not known"),
    "invalid": Invalid("The count is negative"),
    "forbidden": Forbidden("Not yours"),
    "not_found": NotFound("No such note"),
    "conflict": Special("Taken", name="milk", by="addon"),
    "too_large": TooLarge("Too much"),
    "rate_limited": RateLimited("Too often"),
    "failed": Failed("The build broke"),
    "unavailable": Unavailable("The engine is gone"),
    "with_job": RooftreeError("The job failed"),
    "bug": KeyError("secret"),
    "refused": ConnectionRefusedError(111, "Connection refused"),
    "reset": ConnectionResetError("a backend hung up"),
    "timeout": TimeoutError(),
    "system_exit_like": RuntimeError("x" * 10_000),
    "surrogate": Invalid("bad \udcff text"),
}
ERRORS["with_job"].job_id = "0" * 32  # type: ignore[attr-defined]


@routes.get("/errors/{name}", access=PUBLIC)
async def error(name: str) -> None:
    raise ERRORS[name]


@routes.get("/known", access=KNOWN)
def known() -> None: ...


@routes.get("/admin", access=role(Role.ADMIN))
def admin() -> None: ...


class Catalogue:
    def __init__(self) -> None:
        self.revision = 1
        self.encoded = 0
        self.broken = False
        self.going_on = asyncio.Event()
        self.going_on.set()


CATALOGUE = Service[Catalogue]("catalogue/1")


def revision(catalogue: Catalogue) -> str:
    return str(catalogue.revision)


@routes.get("/catalogue", access=PUBLIC, revision=revision)
async def catalogue(catalogue: Catalogue) -> dict[str, int]:
    catalogue.encoded += 1
    if catalogue.broken:
        raise Unavailable("The catalogue is being read")
    seen = catalogue.revision
    await catalogue.going_on.wait()
    return {"revision": seen}


@routes.get("/catalogue.txt", access=PUBLIC, revision=revision)
def catalogue_as_text(catalogue: Catalogue) -> Text:
    return Text(f"Nr. {catalogue.revision}", "text/markdown")


@routes.get("/catalogue.bin", access=PUBLIC, revision=revision)
def catalogue_as_bytes(catalogue: Catalogue) -> Binary:
    return Binary(bytes([catalogue.revision]), "image/png", {"X-Frame-Options": "DENY"})


class Answers(Plugin):
    name = "answers"
    provides = (CATALOGUE,)

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(CATALOGUE, Catalogue())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("answers"), plugins=[Answers], allow={"route_failed"}) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(system: System) -> AsyncIterator[Client]:
    async with Client.over_tcp(system) as client:
        yield client


@pytest.fixture
def kept(system: System) -> Catalogue:
    catalogue = system.services.get(CATALOGUE)
    catalogue.revision += 1
    catalogue.encoded = 0
    catalogue.broken = False
    return catalogue


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/note", {"text": "milk", "written": "2024-01-02T00:00:00+00:00"}),
        ("/notes", [{"text": "milk", "written": "2024-01-02T00:00:00+00:00"}]),
        ("/numbers", {"one": 1}),
        ("/maybe", {}),
    ],
)
async def test_good_answer_is_in_the_envelope(client: Client, path: str, data: object) -> None:
    answer = await client.get(path)

    assert answer.envelope == {"result": "ok", "data": data}
    assert answer.headers["Content-Type"] == "application/json"


async def test_handler_that_returns_nothing_answers_an_empty_object(client: Client) -> None:
    assert (await client.post("/nothing")).envelope == {"result": "ok", "data": {}}


async def test_text_and_bytes_are_answered_as_they_are(client: Client) -> None:
    text, picture = await client.get("/text"), await client.get("/picture")

    assert (text.text, text.headers["Content-Type"]) == ("grüß", "text/plain; charset=utf-8")
    assert (picture.body, picture.headers["Content-Type"]) == (b"\x89PNG", "image/png")


async def test_error_of_a_text_route_is_its_bare_sentence(client: Client) -> None:
    answer = await client.get("/text/broken")

    assert (answer.status, answer.text) == (404, "There is no such text")


async def test_error_of_a_file_for_programs_is_in_the_envelope(client: Client) -> None:
    answer = await client.get("/file/broken")

    assert (answer.status, answer.envelope) == (404, {"result": "error", "message": "There is no such file"})


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("invalid", 400, "The count is negative"),
        ("forbidden", 403, "Not yours"),
        ("not_found", 404, "No such note"),
        ("conflict", 409, "Taken"),
        ("too_large", 413, "Too much"),
        ("rate_limited", 429, "Too often"),
        ("failed", 500, "The build broke"),
        ("unavailable", 503, "The engine is gone"),
        ("surrogate", 400, "bad ? text"),
    ],
)
async def test_error_is_in_the_envelope_with_its_status(client: Client, name: str, status: int, message: str) -> None:
    answer = await client.get(f"/errors/{name}")

    assert answer.status == status
    assert answer.message == message
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("name", ["bug", "refused", "reset", "timeout", "system_exit_like"])
async def test_bug_in_a_handler_is_500_in_the_envelope_and_tells_nothing_of_it(client: Client, name: str) -> None:
    answer = await client.get(f"/errors/{name}")

    assert answer.status == 500
    assert "Rooftree failed on this request" in answer.message
    assert "secret" not in answer.text


async def test_error_carries_its_key_fields_and_job(client: Client) -> None:
    conflict = await client.get("/errors/conflict")
    with_job = await client.get("/errors/with_job")

    assert conflict.envelope == {
        "result": "error",
        "message": "Taken",
        "error_key": "special_error",
        "extra_fields": {"name": "milk", "by": "addon"},
    }
    assert with_job.envelope["job_id"] == "0" * 32


async def test_error_with_a_challenge_says_how_to_vouch_for_oneself(client: Client) -> None:
    challenged, other = await client.get("/errors/wrong_badge"), await client.get("/errors/stranger")

    assert (challenged.status, challenged.headers["WWW-Authenticate"]) == (401, 'Basic realm="the cellar"')
    assert (other.status, "WWW-Authenticate" in other.headers) == (401, False)


async def test_unavailable_says_when_to_come_back(client: Client) -> None:
    assert int((await client.get("/errors/unavailable")).headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 401),
        ("DELETE", "/note", 401),
        ("GET", "/known", 401),
        ("GET", "/admin", 401),
    ],
)
async def test_a_stranger_learns_nothing_of_what_there_is(client: Client, method: str, path: str, status: int) -> None:
    answer = await client.request(method, path)

    assert answer.status == status
    assert "token" in answer.message


async def test_unknown_path_is_404_and_unknown_method_405_naming_those_there_are(system: System) -> None:
    async with Client.over_unix(system) as admin:
        nowhere = await admin.get("/nowhere")
        wrong = await admin.delete("/note")

    assert (nowhere.status, nowhere.envelope["result"]) == (404, "error")
    assert (wrong.status, wrong.envelope["result"]) == (405, "error")
    assert wrong.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /note HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /note HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET /note HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /note HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /note HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_with_400_in_the_envelope(system: System, request_bytes: bytes) -> None:
    answer = await exchange(system, request_bytes)

    assert answer.status == 400
    assert answer.message


async def test_head_has_the_headers_of_get_and_no_body(client: Client) -> None:
    get, head = await client.get("/note"), await client.request("HEAD", "/note")

    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


async def test_unchanged_answer_is_encoded_once_and_confirmed_with_304(client: Client, kept: Catalogue) -> None:
    first = await client.get("/catalogue")
    again = await client.get("/catalogue")
    tag = first.headers["ETag"]
    confirmed = await client.get("/catalogue", headers={"If-None-Match": tag})
    confirmed_weak = await client.get("/catalogue", headers={"If-None-Match": f'"other", W/{tag}'})

    assert first.data == again.data == {"revision": kept.revision}
    assert again.headers["ETag"] == tag
    assert kept.encoded == 1
    for answer in (confirmed, confirmed_weak):
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)


async def test_changed_answer_has_another_tag(client: Client, kept: Catalogue) -> None:
    old = await client.get("/catalogue")
    kept.revision += 1

    new = await client.get("/catalogue", headers={"If-None-Match": old.headers["ETag"]})

    assert new.data == {"revision": kept.revision}
    assert new.headers["ETag"] != old.headers["ETag"]


async def test_answer_made_while_it_changed_is_not_kept_for_the_new_revision(client: Client, kept: Catalogue) -> None:
    kept.going_on.clear()
    slow = asyncio.create_task(client.get("/catalogue"))
    while kept.encoded == 0:
        await asyncio.sleep(0)
    kept.revision += 1
    kept.going_on.set()
    await slow

    assert (await client.get("/catalogue")).data == {"revision": kept.revision}


async def test_text_and_bytes_are_kept_as_what_they_are(client: Client, kept: Catalogue) -> None:
    for path, media, body in (
        ("/catalogue.txt", "text/markdown; charset=utf-8", f"Nr. {kept.revision}".encode()),
        ("/catalogue.bin", "image/png", bytes([kept.revision])),
    ):
        for answer in (await client.get(path), await client.get(path)):
            assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, media, body)
            assert answer.headers["ETag"]
            assert answer.headers.get("X-Frame-Options") == ("DENY" if path.endswith("bin") else None)


async def test_error_is_not_kept(client: Client, kept: Catalogue) -> None:
    kept.broken = True
    refused = await client.get("/catalogue")
    kept.broken = False

    assert refused.status == 503
    assert "ETag" not in refused.headers
    assert (await client.get("/catalogue")).data == {"revision": kept.revision}


async def test_tag_does_not_outlive_the_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("restart")
    tags = []
    for _ in range(2):
        async with running_system(folder, plugins=[Answers]) as system, Client.over_tcp(system) as client:
            tags.append((await client.get("/catalogue")).headers["ETag"])

    assert tags[0] != tags[1]


async def test_requests_in_one_connection_are_answered_in_order(system: System) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    for path in (b"/note", b"/numbers", b"/nowhere"):
        writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write(b"GET /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    received = await reader.read()
    writer.close()

    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200", b"200", b"401", b"200"]


async def test_asking_for_continue_is_granted(system: System) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{system.port}/nothing"
        async with session.post(url, data=b"{}", expect100=True) as answer:
            assert answer.status == 200


async def test_connect_and_options_are_refused(system: System) -> None:
    for method, target in (("OPTIONS", b"*"), ("OPTIONS", b"/note"), ("TRACE", b"/note")):
        answer = await send(system, target, method=method)

        assert answer.status in {400, 401, 405}
        assert answer.message
