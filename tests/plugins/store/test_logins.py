"""Repositories behind a login: it works, it is renewed, and it is told to nobody but the server that it is for."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from rooftree import Secret
from rooftree.model.secret import CREDENTIAL, structure_document
from rooftree.state.documents import document_kind
from rooftree_store.git_process import MOST_SAID
from rooftree_store.logins import Login, RepositoryAddress
from rooftree_store.slugs import RepositorySlug
from tests.plugins.store.shop import Shop, config, refusal, shop
from tests.rig.git_http_server import GitHttpServer, serve_git_over_http
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.service_process import free_port

TOKEN = "hunter2-7d0c/@:ä"
QUOTED = "hunter2-7d0c%2F%40%3A%C3%A4"


@pytest.fixture
async def server(git_server: GitServer) -> AsyncIterator[GitHttpServer]:
    """A server that wants a login."""
    async with serve_git_over_http(git_server.served) as server:
        server.login = f"reader:{TOKEN}"
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """The same for all tests that add nothing; they run on its event loop."""
    async with shop(tmp_path_factory.mktemp("shop")) as here:
        yield here


@pytest.fixture
def private(git_server: GitServer) -> GitRepository:
    """A repository on it."""
    files = {"repository.yaml": "name: Mine\n", "hello/config.json": config()}
    return git_server.repository(secrets.token_hex(4), files)


def address(server: GitHttpServer, repository: GitRepository, login: str = f"reader:{QUOTED}") -> str:
    """What the user types."""
    return server.url(repository.folder.name, login)


def login(name: str, password: str) -> Login:
    """A login as it is kept."""
    return Login(Secret(name), Secret(password))


async def test_repository_behind_a_login_is_added_and_brought_up_to_date(
    tmp_path: Path, server: GitHttpServer, private: GitRepository
) -> None:
    async with shop(tmp_path) as here:
        added = await here.add(address(server, private))
        sources = here.sources()
    private.write({"hello/config.json": config(version="2.0")})
    private.push()
    async with shop(tmp_path) as here:
        await here.reload()

        assert added.data == {}
        assert sources == here.sources() == [server.url(private.folder.name)]
        assert list(here.offered().values()) == ["2.0"]


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ("", "a login is given in the address, as in http://name:token@127.0.0.1:"),
        ("reader:wrong", "does not accept this login, or does not exist"),
        ("token", "does not accept this login, or does not exist"),
    ],
)
async def test_wrong_login_is_refused_and_leaves_nothing(
    here: Shop, server: GitHttpServer, private: GitRepository, login: str, says: str
) -> None:
    answer = await here.add(address(server, private, login))

    message = refusal(answer, 500, "store_repository_unknown_error")
    assert says in message
    assert "askpass" not in message
    assert (here.sources(), here.folders()) == ([], [])
    assert dict(here.store._logins) == {}


async def test_token_in_place_of_a_name_will_do(here: Shop, server: GitHttpServer, private: GitRepository) -> None:
    server.login = "ghp_token:"

    assert (await here.add(address(server, private, "ghp_token"))).data == {}


async def test_login_is_renewed_by_adding_again_and_only_by_one_that_works(
    here: Shop, server: GitHttpServer, private: GitRepository
) -> None:
    await here.add(address(server, private))
    server.login = "reader:new"

    wrong = await here.add(address(server, private, "reader:other"))
    kept = dict(here.store._logins)
    planned = await here.client.post(
        "/store/repositories?plan=1", json={"repository": address(server, private, "reader:new")}
    )
    unchanged = dict(here.store._logins)
    right = await here.add(address(server, private, "reader:new"))
    without = await here.add(address(server, private, ""))

    refusal(wrong, 500, "store_repository_unknown_error")
    assert list(kept.values()) == [login("reader", TOKEN)]
    assert [step["kind"] for step in planned.data["steps"]] == ["store.keep_login/1", "store.update_repositories/1"]
    assert unchanged == kept
    assert right.data == {}
    assert list(here.store._logins.values()) == [login("reader", "new")]
    refusal(without, 409, "store_repository_already_added_error")


async def test_login_goes_with_its_repository(tmp_path: Path, server: GitHttpServer, private: GitRepository) -> None:
    async with shop(tmp_path) as here:
        await here.add(address(server, private))
        (before,) = here.store._logins.values()

        await here.remove(address(server, private, ""))

        assert before == login("reader", TOKEN)
        assert dict(here.store._logins) == {}


async def test_login_that_a_kill_left_behind_is_swept(tmp_path: Path) -> None:
    async with shop(tmp_path) as here:
        await here.system.state.commit(here.store._logins.put(RepositorySlug("0123abcd"), login("a", "b")))

    async with shop(tmp_path) as here:
        assert dict(here.store._logins) == {}


async def test_login_is_told_to_nobody(
    tmp_path: Path, server: GitHttpServer, private: GitRepository, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop(tmp_path) as here:
        await here.add(address(server, private))
        await here.add(address(server, private, f"reader:{QUOTED}x"))
        await here.add(f"http://reader:{QUOTED}@127.0.0.1:{free_port()}/gone.git")
        server.login = "other:other"
        await here.reload()
        paths = ("/store", "/store/repositories", "/kernel/v1/problems", "/jobs/info", "/supervisor/info")
        told = [(await here.client.get(path)).text for path in paths]
        told += [repr(list(here.system.problems)), caplog.text]
        told.append(repr(await here.system.database.read(journal)))
        told += await asyncio.to_thread(lambda: [text_of(path) for path in here.clones.rglob("*") if path.is_file()])

        assert here.problem("fatal_error") is not None
        assert [text for text in told if "hunter2" in text] == []


@pytest.mark.parametrize("repeats", [
    lambda given: f"No repository at http://somebody:else@127.0.0.1/x.git for {given}",
    lambda given: f"Unknown login {b64decode(given.split()[1]).decode()}",
    lambda given: f"No repository at http://reader:{QUOTED}@127.0.0.1/x.git",
    lambda given: TOKEN * MOST_SAID,
], ids=["header", "login", "address", "where the rest is cut off"])  # fmt: skip
async def test_login_that_a_server_repeats_is_told_to_nobody(
    here: Shop, server: GitHttpServer, private: GitRepository, caplog: pytest.LogCaptureFixture,
    repeats: Callable[[str], str],
) -> None:  # fmt: skip
    server.refuses = repeats

    answer = await here.add(address(server, private))

    message = refusal(answer, 500, "store_repository_unknown_error")
    assert "remote: " in message or "***" in message
    basic = b64encode(f"reader:{TOKEN}".encode()).decode()
    for told in (message, caplog.text, repr(await here.system.database.read(journal))):
        assert [secret for secret in ("hunter2", "7d0c", basic, "somebody", "else@") if secret in told] == []


def journal(connection: sqlite3.Connection) -> list[object]:
    """Everything in the database but what is kept on purpose."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert "document" in tables and len(tables) > 2
    return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables if table != "document"]


def text_of(path: Path) -> str:
    """A file as text."""
    return path.read_bytes().decode("latin-1")


async def test_login_is_on_no_command_line_and_in_no_file_that_others_can_read(
    here: Shop, server: GitHttpServer, private: GitRepository
) -> None:
    lines: set[str] = set()

    def look() -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                lines.add(text_of(path))

    server.meanwhile = lambda: asyncio.to_thread(look)
    await here.add(address(server, private))
    kept = await asyncio.to_thread(
        lambda: [path for path in here.data.rglob("*") if path.is_file() and "hunter2" in text_of(path)]
    )

    assert any("ls-remote" in line or "clone" in line for line in lines)
    assert [line for line in lines if "hunter2" in line] == []
    assert kept != []
    assert [path for path in kept if path.stat().st_mode & 0o077] == []


async def test_login_is_sealed_where_there_is_a_key(
    tmp_path: Path, server: GitHttpServer, private: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / CREDENTIAL).write_bytes(secrets.token_bytes(64))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    async with shop(tmp_path / "data") as here:
        await here.add(address(server, private))
    written = [text_of(path) for path in (tmp_path / "data").rglob("*") if path.is_file()]
    private.write({"hello/config.json": config(version="2.0")})
    private.push()

    async with shop(tmp_path / "data") as here:
        await here.reload()
        with_key = here.offered()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    async with shop(tmp_path / "data") as here:
        await here.reload()
        problem, without_key = here.problem("fatal_error"), here.offered()

    assert [text for text in written if "hunter2" in text or "reader" in text] == []
    assert list(with_key.values()) == list(without_key.values()) == ["2.0"]
    assert problem is not None
    assert "sealed with a key that is not here" in problem.message


def test_login_of_the_first_version_is_still_one() -> None:
    body = document_kind(Login).migrations[1]({"name": "reader", "password": "plain:odd"})

    assert structure_document(body, Login) == login("reader", "plain:odd")


async def test_other_server_that_the_first_leads_to_is_not_given_the_login(
    here: Shop, server: GitHttpServer, private: GitRepository, git_server: GitServer
) -> None:
    async with serve_git_over_http(git_server.served) as other:
        other.login = f"reader:{TOKEN}"
        server.leads_to = f"http://127.0.0.1:{other.port}"

        answer = await here.add(address(server, private))

        assert "does not accept this login" in refusal(answer, 500, "store_repository_unknown_error")
        assert other.asked
        assert {login for _, login in other.asked} == {None}


@pytest.mark.parametrize(
    "text",
    [
        "https://:password@example.com/a",
        "https://@example.com/a",
        "https://user:pass%0aword@example.com/a",
        "https://us%00er:password@example.com/a",
        f"https://user:{'x' * 1001}@example.com/a",
        "https://user:password@/a",
        "https://user:password@example.com",
        "https://user:password@-x/a",
        "https://user:password@example.com/a b",
        "https://example.com\\@evil.example/a",
        "https://us er:password@example.com/a",
        "ssh://git:password@example.com/a",
        "git://user:password@example.com/a",
        "file://user:password@example.com/a",
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_address_that_is_none_is_refused_without_repeating_it(shop_as_it_is: Shop, text: str) -> None:
    message = refusal(await shop_as_it_is.add(text), 400)

    assert message.startswith("repository: ")
    assert "password@" not in message
    assert "user" not in message


@given(st.text(max_size=20), st.text(alphabet="aä:@/#%?ß €", max_size=20))
def test_login_is_split_from_the_source_and_not_shown(name: str, password: str) -> None:
    from urllib.parse import quote  # for this test only

    text = f"https://{quote(name, safe='', errors='replace')}:{quote(password, safe='')}@example.com/a#main"
    try:
        given = RepositoryAddress.parse(text)
    except ValueError as refused:
        assert not name or any(letter < " " or letter == "\x7f" for letter in name)
        assert "login" in str(refused)
        return

    assert given.source == "https://example.com/a#main"
    assert given.login is not None
    assert given.login.password.reveal() == password
    assert repr(given) == "'https://example.com/a#main'"
    assert repr(given.login) == "Login(name=Secret(***), password=Secret(***))"
