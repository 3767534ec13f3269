"""Secrets: kept so that they can be used again, and shown nowhere."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from rooftree import Plugin, Routes, Secret, SecretLocked, document
from rooftree.access.rules import PUBLIC
from rooftree.errors import Invalid
from rooftree.model.conversion import structure, unstructure
from rooftree.model.secret import CREDENTIAL, structure_document, unstructure_document
from rooftree.state.documents import Collection
from rooftree.testing import Client, running_system
from tests.kernel.test_state import opened

WORD = "correct horse battery staple"


@document("test.login")
@frozen
class Login:
    name: str
    word: Secret
    older: tuple[Secret, ...] = ()


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the service manager puts the key."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / CREDENTIAL).write_bytes(os.urandom(64))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


async def kept(path: Path) -> Login:
    """The login in that data folder, as a new start reads it."""
    async with opened(path) as state:
        return (await state.collection(Login))["it"]


async def keep(path: Path, login: Login) -> None:
    """Put a login into that data folder."""
    async with opened(path) as state:
        logins: Collection[Login] = await state.collection(Login)
        await state.commit(logins.put("it", login))


def on_disk(path: Path) -> bytes:
    """The body of the login as the database has it."""
    with closing(sqlite3.connect(path / "rooftree.db")) as connection:
        return bytes(connection.execute("SELECT body FROM document WHERE collection = 'test.login'").fetchone()[0])


def test_secret_is_masked_wherever_it_is_shown() -> None:
    login = Login("me", Secret(WORD))

    shown = f"{login} {login!r} {login.word} {[login.word]} {login.word!s:>20}"

    assert WORD not in shown
    assert "Secret(***)" in shown
    assert login.word.reveal() == WORD
    assert login == Login("me", Secret(WORD)) != Login("me", Secret("another"))
    assert len({Secret(WORD), Secret(WORD), Secret("another")}) == 2


def test_secret_comes_from_a_body_and_goes_into_no_answer() -> None:
    login = structure({"name": "me", "word": WORD}, Login)

    assert login.word == Secret(WORD)
    with pytest.raises(TypeError, match="belongs into documents only"):
        unstructure(login)
    with pytest.raises(Invalid, match="word"):
        structure({"name": "me", "word": 4}, Login)


async def test_without_a_key_it_is_kept_as_it_is(tmp_path: Path) -> None:
    await keep(tmp_path, Login("me", Secret(WORD), (Secret("plain:odd"), Secret(""))))

    assert await kept(tmp_path) == Login("me", Secret(WORD), (Secret("plain:odd"), Secret("")))


async def test_with_a_key_it_is_sealed_on_the_disk(tmp_path: Path, key: Path) -> None:
    await keep(tmp_path / "data", Login("me", Secret(WORD)))

    assert WORD.encode() not in on_disk(tmp_path / "data")
    assert await kept(tmp_path / "data") == Login("me", Secret(WORD))


async def test_same_secret_is_sealed_differently_each_time(tmp_path: Path, key: Path) -> None:
    """Two that are sealed alike tell that they are the same, and with a nonce that comes twice the key is broken."""
    login = Login("me", Secret(WORD), (Secret(WORD), Secret(WORD.upper())))
    seals = list[str]()
    for _ in range(2):
        await keep(tmp_path / "data", login)
        body = json.loads(on_disk(tmp_path / "data"))
        seals += [body["word"], *body["older"]]

    raw = [base64.b64decode(seal.rpartition(":")[2]) for seal in seals]
    starts = {content[:length] for content in raw for length in (8, 12)}
    assert len(starts) == 2 * len(seals)
    assert len({content[12:] for content in raw}) == len(seals)


def test_sealed_secret_that_somebody_has_changed_is_not_one(key: Path) -> None:
    sealed = unstructure_document(Secret(WORD))
    name, content = sealed.rsplit(":", 1)
    raw = base64.b64decode(content)

    for place in (0, 12, len(raw) - 1):  # the nonce, the text, the tag
        changed = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        with pytest.raises(Invalid, match="is a sealed secret that somebody has changed"):
            structure_document(f"{name}:{base64.b64encode(changed).decode()}", Secret)
    assert structure_document(sealed, Secret) == Secret(WORD)


async def test_key_that_comes_later_reads_what_was_kept_without(tmp_path: Path, key: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("CREDENTIALS_DIRECTORY")
        await keep(tmp_path / "data", Login("me", Secret(WORD)))

    assert (await kept(tmp_path / "data")).word == Secret(WORD)


async def test_secret_whose_key_is_gone_is_locked_and_there_again_with_the_key(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    await keep(data, Login("me", Secret(WORD)))
    shutil.copytree(key, elsewhere)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")

    locked = await kept(data)
    with pytest.raises(SecretLocked, match=CREDENTIAL) as refusal:
        locked.word.reveal()
    await keep(data, Login("another name", locked.word))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(elsewhere))

    assert (locked.word.is_locked, repr(locked.word)) == (True, "Secret(locked)")
    assert refusal.value.status == 503
    assert await kept(data) == Login("another name", Secret(WORD))


@pytest.mark.parametrize("alike", [0, 63], ids=["all of it differs", "its last byte differs"])
async def test_another_key_locks_it_too(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch, alike: int) -> None:
    await keep(tmp_path / "data", Login("me", Secret(WORD)))
    other = tmp_path / "other"
    other.mkdir()
    content = (key / CREDENTIAL).read_bytes()
    (other / CREDENTIAL).write_bytes(content[:alike] + bytes(byte ^ 1 for byte in content[alike:]))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(other))

    assert (await kept(tmp_path / "data")).word.is_locked


class Door(Plugin):
    name = "door"
    told: str | None = None

    def routes(self) -> Routes:
        routes = Routes()

        @routes.post("/door", access=PUBLIC)
        def lock(body: Login) -> None:
            """Take a secret."""
            Door.told = body.word.reveal()

        @routes.get("/door", access=PUBLIC)
        def show() -> Any:
            """Say more than one should."""
            return Login("me", Secret(WORD))

        return routes


async def test_answer_with_a_secret_in_it_is_never_sent(tmp_path: Path) -> None:
    async with (
        running_system(tmp_path, plugins=[Door], allow={"route_failed"}) as system,
        Client.over_unix(system) as client,
    ):
        taken = await client.post("/door", json={"name": "me", "word": WORD})
        wrong = await client.post("/door", json={"name": "me", "word": [WORD]})
        shown = await client.get("/door")

    assert (taken.status, Door.told) == (200, WORD)
    assert (wrong.status, WORD in wrong.text) == (400, False)
    assert (shown.status, WORD in shown.text) == (500, False)


async def test_key_that_can_be_none_is_refused_before_anything_is_read(tmp_path: Path, key: Path) -> None:
    (key / CREDENTIAL).write_bytes(b"short")

    with pytest.raises(Invalid, match="must have 32 random bytes"):
        async with running_system(tmp_path / "data", plugins=[]):
            pass
