"""One spelling for each path, and the same verdict whatever the spelling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree import Kernel, ParsedString, Plugin, Principal, Role, Routes, itself, role
from rooftree.access.rules import KNOWN, PUBLIC
from rooftree.errors import Invalid
from rooftree.http.binding import Endpoint
from rooftree.http.paths import segments
from rooftree.http.table import Entry, RouteTable
from rooftree.interfaces.callers import ADDON, TOKEN_HEADERS
from rooftree.services.directory import ServiceDirectory
from rooftree.testing import running_system, token_for
from tests.kernel.raw_http import send
from tests.kernel.spellings import canonical, spellings

UNSPELLABLE = {*map(chr, range(0x20)), "\x7f", "/", "\\"}
"""What a segment can't contain in any spelling."""


class Slug(ParsedString):
    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        if not (text.isascii() and text.replace("_", "a").isalnum()):
            raise ValueError("must be letters, digits and underscores")


routes = Routes()


@routes.get("/", access=role(Role.ADMIN))
def root() -> dict[str, list[str]]:
    return {"parts": []}


@routes.get("/notes", access=role(Role.MANAGER))
def notes() -> dict[str, list[str]]:
    return {"parts": ["notes"]}


@routes.get("/notes/public/list", access=PUBLIC)
def public() -> dict[str, list[str]]:
    return {"parts": ["notes", "public", "list"]}


@routes.get("/notes/{slug}", access=role(Role.MANAGER) | itself("slug", ADDON))
def note(slug: Slug) -> dict[str, list[str]]:
    return {"parts": ["notes", slug]}


@routes.get("/notes/{slug}/options", access=role(Role.ADMIN), aliases=("/addons/{slug}/options",))
def options(slug: Slug) -> dict[str, list[str]]:
    return {"parts": ["notes", slug, "options"]}


@routes.get("/files/{name}/content", access=role(Role.ADMIN))
def content(name: str) -> dict[str, list[str]]:
    return {"parts": ["files", name, "content"]}


@routes.get("/known", access=KNOWN)
def known() -> dict[str, list[str]]:
    return {"parts": ["known"]}


class Paths(Plugin):
    name = "paths"

    async def setup(self, kernel: Kernel) -> None:
        kernel.accept_tokens_in(*TOKEN_HEADERS)

    def routes(self) -> Routes:
        return routes


CALLERS = {
    "anonymous": None,
    "other add-on": Principal("addon", "other", Role.DEFAULT),
    "same add-on": Principal("addon", "hello", Role.DEFAULT),
    "manager": Principal("addon", "keeper", Role.MANAGER),
    "admin": Principal("token", "root", Role.ADMIN),
}


ROUTE_PATHS = [
    "/",
    "/notes",
    "/notes/public/list",
    "/notes/hello",
    "/notes/hello/options",
    "/addons/hello/options",
    "/files/a/content",
    "/known",
]


async def test_no_spelling_of_any_path_gets_another_verdict(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Paths]) as system:
        declared = {
            path for entry in system.server.table.entries for path in entry.route.paths if entry.owner == "paths"
        }
        assert len(declared) == len(ROUTE_PATHS)
        for caller, principal in CALLERS.items():
            headers = [("X-Supervisor-Token", await token_for(system, principal))] if principal else []
            for path in ROUTE_PATHS:
                verdict = (await send(system, path.encode(), headers=headers)).status
                assert verdict in {200, 401, 403}
                for what, target in spellings(path).items():
                    answer = await send(system, target, headers=headers)

                    where = f"{caller}: {path}: {what}: {target[:80]!r}: {answer.body!r}"
                    assert answer.envelope, where
                    if answer.status == 200:
                        # It is the canonical path of what the handler was given, and another thing than was meant.
                        assert canonical(answer.data["parts"]).encode() == target, where
                        assert verdict == 200, where
                    else:
                        assert answer.status in {400, 401, 403, 404}, where


REFUSED_EVERYWHERE = [
    "doubled slash in front",
    "doubled slash inside",
    "trailing slash",
    "dot segment",
    "parent and back",
    "escaped dots",
    "half escaped dots",
    "escaped first letter",
    "all escaped",
    "escaped slash",
    "backslash",
    "escaped NUL",
    "escaped tab",
    "overlong slash",
    "raw high bytes",
    "escaped invalid UTF-8",
    "escape cut short",
    "absolute form",
    "authority",
    "24 KB",
]


async def test_spellings_that_other_software_normalises_are_refused_with_400(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Paths]) as system:
        headers = [("X-Supervisor-Token", await token_for(system, Principal("token", "root", Role.ADMIN)))]
        for path in ROUTE_PATHS:
            others = spellings(path)
            for what in REFUSED_EVERYWHERE:
                if others[what] == path.encode():  # "/" has no letter to escape
                    continue
                answer = await send(system, others[what], headers=headers)

                assert answer.status == 400, f"{path}: {what}"
                assert answer.message


def test_name_that_is_empty_is_told_as_such() -> None:
    with pytest.raises(Invalid, match="a name in it is empty"):
        segments("/notes//options")


async def test_canonical_escapes_reach_the_handler_decoded(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Paths]) as system:
        headers = [("X-Supervisor-Token", await token_for(system, Principal("token", "root", Role.ADMIN)))]

        for name in ("ä", "a b", "%2e", "100%", "?", "#", "漢字", "a;b=c", "...", "self"):
            answer = await send(system, canonical(["files", name, "content"]).encode(), headers=headers)

            assert answer.data["parts"] == ["files", name, "content"]


segment_texts = st.text(st.characters(codec="utf-8", exclude_characters="".join(UNSPELLABLE)), min_size=1).filter(
    lambda text: text not in {".", ".."}
)


@given(st.lists(segment_texts, max_size=5))
def test_every_sequence_of_names_has_a_path(names: list[str]) -> None:
    assert segments(canonical(names)) == tuple(names)


path_texts = st.text(st.sampled_from("aA%20eEfFcC/.;\\:@+~#?\x00\t ä52"), max_size=24).map(lambda text: "/" + text)


@given(path_texts | st.text(max_size=20))
def test_every_path_that_is_taken_is_the_only_spelling_of_its_segments(path: str) -> None:
    try:
        taken = segments(path)
    except Invalid:
        return

    assert canonical(taken) == path
    assert not any(character in UNSPELLABLE for part in taken for character in part)


TABLE = RouteTable(Entry(route, "paths", Endpoint(route, ServiceDirectory())) for route in routes)


@given(st.sampled_from(ROUTE_PATHS), st.data())
def test_every_path_that_matches_is_canonical(path: str, data: st.DataObject) -> None:
    mutate: Callable[[str, int], str] = data.draw(
        st.sampled_from(
            [
                lambda text, at: text[:at] + "/" + text[at:],
                lambda text, at: text[:at] + "/." + text[at:],
                lambda text, at: text[:at] + "/../" + text[at:],
                lambda text, at: text[:at] + "%2e" + text[at:],
                lambda text, at: text[:at] + (f"%{ord(text[at]):02X}" if at < len(text) else "") + text[at + 1 :],
                lambda text, at: text[:at] + "\x00" + text[at:],
                lambda text, at: text[:at].upper() + text[at:],
                lambda text, at: text[:at] + "%C3%A4" + text[at:],
            ]
        )
    )
    spelt = mutate(path, data.draw(st.integers(0, len(path))))
    try:
        match = TABLE.match(spelt)
    except Invalid:
        return
    if match is None:
        return

    assert canonical(segments(spelt)) == spelt
    entry, names = match.methods["GET"]
    assert len(names) == len(match.values)
    assert canonical(segments(spelt)) in {
        canonical(
            [dict(zip(names, match.values, strict=True)).get(part[1:-1], part) for part in declared.split("/")[1:]]
        )
        if declared != "/"
        else "/"
        for declared in entry.route.paths
    }


@pytest.mark.parametrize(
    "path", ["", "notes", "/notes/", "//notes", "/a b", "/{Slug}", "/a{slug}", "/./a", "/%2e", "/%41", "/a?b", "/ä"]
)
def test_a_route_cannot_be_declared_with_a_path_that_no_request_could_match(path: str) -> None:
    with pytest.raises(ValueError, match="GET"):
        Routes().get(path, access=PUBLIC)(root)
