"""Translations: read once for each version of their folder, by one thread, for as long as somebody waits."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rooftree_store import languages
from rooftree_store.catalogue import ConfigReader, Offer, read_contents
from rooftree_store.languages import Languages
from rooftree_store.slugs import RepositorySlug
from tests.plugins.store.shop import config
from tests.rig.files import write_files

LOCAL = RepositorySlug("local")


def texts(name: str) -> str:
    """A translation."""
    return f"configuration:\n  word:\n    name: {name}\n"


class Lamp:
    """An add-on, its translations, and how often a file of them was parsed."""

    def __init__(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = data
        self.repository = data / "apps" / "local"
        self.folder = self.repository / "lamp" / "translations"
        self.executor = ThreadPoolExecutor(2)
        self.languages = Languages(self.executor)
        self.parsed: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        write_files(self.repository, {"lamp/config.json": config("lamp"), "hut/config.json": config("hut")})
        contents = read_contents(data, self.repository, LOCAL, ConfigReader())
        self.offers = {offer.config.slug: offer for offer in contents.offers.values()}
        real = languages.parse_document

        def parse(data: bytes, path: str) -> Any:
            self.parsed.append(path)
            self.hold.wait(10)
            return real(data, path)

        monkeypatch.setattr(languages, "parse_document", parse)

    def write(self, **files: str) -> None:
        """Put translations into it, by language."""
        write_files(self.folder, {f"{name}.yaml": texts(text) for name, text in files.items()})

    def offer(self, name: str = "lamp") -> Offer:
        """One of the two add-ons."""
        return self.offers[name]

    async def read(self, name: str = "lamp") -> dict[str, Any]:
        """What is answered of its translations."""
        return dict(await self.languages.of(self.repository, self.offer(name)))


@pytest.fixture
def lamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lamp]:
    """An add-on without translations."""
    made = Lamp(tmp_path, monkeypatch)
    yield made
    made.hold.set()
    made.executor.shutdown()


async def test_they_are_read_once_for_each_version_of_their_folder(lamp: Lamp) -> None:
    assert await lamp.read() == {}
    lamp.write(de="Wort", en="Word")

    first = await lamp.read()
    assert {name: value["configuration"]["word"]["name"] for name, value in first.items()} == {
        "de": "Wort",
        "en": "Word",
    }
    assert await lamp.read() == first
    assert len(lamp.parsed) == 2

    lamp.write(de="Satz")
    assert (await lamp.read())["de"]["configuration"]["word"]["name"] == "Satz"
    assert len(lamp.parsed) == 4


async def test_a_change_is_seen_also_where_size_and_time_are_put_back(lamp: Lamp) -> None:
    lamp.write(en="Word")
    await lamp.read()
    file = lamp.folder / "en.yaml"
    before = file.stat()
    file.write_text(texts("Lamp"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert (await lamp.read())["en"]["configuration"]["word"]["name"] == "Lamp"


async def test_many_who_ask_at_once_wait_for_one_reading(lamp: Lamp) -> None:
    lamp.write(en="Word")

    answers = await asyncio.gather(*(lamp.read() for _ in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert len(lamp.parsed) == 1


async def test_the_reading_ends_when_the_last_who_waits_has_left_and_begins_anew_for_the_next(lamp: Lamp) -> None:
    lamp.write(**{f"l{number}": "Word" for number in range(30)})
    lamp.hold.clear()
    offer = lamp.offer()
    waiting = [asyncio.create_task(lamp.languages.of(lamp.repository, offer)) for _ in range(3)]
    while not lamp.parsed:
        await asyncio.sleep(0.001)

    waiting[0].cancel()
    await asyncio.wait({waiting[0]})
    assert len(lamp.languages._readings) == 1
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert not lamp.languages._readings
    lamp.hold.set()
    await asyncio.to_thread(lambda: [lamp.executor.submit(time.sleep, 0.05).result() for _ in range(3)])

    assert len(lamp.parsed) == 1
    assert len(await lamp.read()) == 30


async def test_one_add_ons_endless_reading_holds_up_no_other(lamp: Lamp) -> None:
    lamp.write(en="Word")
    write_files(lamp.repository / "hut" / "translations", {"en.yaml": "network: {80/tcp: Hut}\n"})
    first, second = lamp.offer(), lamp.offer("hut")
    lamp.hold.clear()
    held = [asyncio.create_task(lamp.languages.of(lamp.repository, first)) for _ in range(8)]
    while not lamp.parsed:
        await asyncio.sleep(0.001)

    other = asyncio.create_task(lamp.languages.of(lamp.repository, second))
    async with asyncio.timeout(5):
        while len(lamp.parsed) < 2:  # a second thread has it in hand, all that the eight have is one
            await asyncio.sleep(0.001)
    lamp.hold.set()

    assert (await other)["en"]["network"] == {"80/tcp": "Hut"}
    await asyncio.gather(*held)


async def test_more_languages_than_a_hundred_are_left_out_english_last_of_all(lamp: Lamp) -> None:
    lamp.write(**{f"a{number:04}": "Word" for number in range(3000)}, en="Word")

    read = await lamp.read()

    assert len(read) == len(lamp.parsed) == 100
    assert "en" in read
    contents = await asyncio.to_thread(read_contents, lamp.data, lamp.repository, LOCAL, ConfigReader())
    assert contents.broken == {"lamp/translations": "has more than 100 translations; the rest is left out"}
    assert len(contents.offers) == 2


async def test_translations_that_take_too_much_memory_are_cut_short(lamp: Lamp) -> None:
    long = "x" * 900_000
    lamp.write(**{f"l{number:02}": long for number in range(50)})

    read = await lamp.read()

    assert list(read) == [f"l{number:02}" for number in range(6)]
    assert len(lamp.parsed) == 7


async def test_what_is_kept_of_all_add_ons_has_a_limit(lamp: Lamp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "MAX_CACHED_BYTES", 150_000)
    write_files(lamp.repository / "hut" / "translations", {"en.yaml": texts("x" * 100_000)})
    lamp.write(en="x" * 100_000)

    for name in ("lamp", "hut", "hut", "lamp"):
        assert len(await lamp.read(name)) == 1

    assert [path.partition("/")[0] for path in lamp.parsed] == ["lamp", "hut", "lamp"]


@pytest.mark.parametrize("place", ["lamp/translations", "lamp/translations/en.yaml"])
async def test_what_leads_out_of_the_repository_or_into_git_is_none(lamp: Lamp, tmp_path: Path, place: str) -> None:
    write_files(tmp_path / "outside", {"en.yaml": texts("secret")})
    write_files(lamp.repository / ".git", {"en.yaml": texts("secret")})
    for target in (tmp_path / "outside", lamp.repository / ".git"):
        for root in (str(target), os.path.relpath(target, (lamp.repository / place).parent)):
            link = lamp.repository / place
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"{root}/en.yaml" if place.endswith(".yaml") else root)
            assert await lamp.read() == {}


async def test_links_within_the_repository_are_followed(lamp: Lamp) -> None:
    write_files(lamp.repository, {"shared/en.yaml": texts("Word"), "hut/translations/de.yaml": texts("Wort")})
    (lamp.repository / "hut" / "translations" / "en.yaml").symlink_to("../../shared/en.yaml")
    lamp.folder.symlink_to("../hut/translations")

    assert list(await lamp.read()) == ["de", "en"]
    assert list(await lamp.read("hut")) == ["de", "en"]


async def test_an_error_reaches_everybody_and_the_next_tries_again(lamp: Lamp, monkeypatch: pytest.MonkeyPatch) -> None:
    lamp.write(en="Word")
    with monkeypatch.context() as broken:
        broken.setattr(languages, "content_in", lambda *_: 1 / 0)
        outcomes = await asyncio.gather(*(lamp.read() for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 3

    assert list(await lamp.read()) == ["en"]
