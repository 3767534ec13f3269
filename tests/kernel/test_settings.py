"""Settings: three sources, one strength; every mistake named with its line and what was probably meant."""

from __future__ import annotations

import enum
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rooftree.model.conversion import ParsedString
from rooftree.settings import (
    Settings,
    SettingsInvalid,
    between,
    default_places,
    key_lines,
    load,
    looks_secret,
    parse_text,
)


@frozen
class Git:
    depth: int = 1
    proxy: str | None = None


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class HostName(ParsedString):
    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        if " " in text:
            raise ValueError("must be a host name without spaces")


@frozen
class StoreSettings:
    reload_every: int = field(default=10_800, validator=between(60, 1_000_000))
    ratio: float = 0.5
    follow: bool = True
    branches: tuple[str, ...] = ()
    ports: list[int] = field(factory=list)
    git: Git = field(factory=Git)
    cache: Path | None = None
    colour: Colour = Colour.RED
    host: HostName | None = None
    mode: Literal["Slow", "fast"] = "fast"
    api_token: int | None = None
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class UrlSettings:
    url: str


@frozen
class Window:
    first: int = 1
    last: int = 2

    def __attrs_post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("first must not be after last")


KNOWN: dict[str, type | None] = {"store": StoreSettings, "addons": None, "board-yellow": Git}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Load settings from the text of a file, an environment and flags."""

    def read(text: str = "", environ: Mapping[str, str] | None = None, **flags: object) -> Settings:
        file = tmp_path / "rooftree.toml"
        file.write_text(text)
        return load(config=file, environ=environ or {}, flags=flags)

    return read


def problems_of(call: Any, *arguments: Any, **named: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as caught:
        call(*arguments, **named)
    return caught.value.problems


# --- strength and origin


def test_flags_beat_the_environment_which_beats_the_file(read: Any) -> None:
    text = '[kernel]\nport = 1\nhost = "file"\nlog_level = "error"\n'
    environ = {"ROOFTREE_PORT": "2", "ROOFTREE_HOST": "environment"}

    settings = read(text, environ, port=3)

    assert (settings.kernel.port, settings.kernel.host, settings.kernel.log_level) == (3, "environment", "error")


def test_origin_names_line_variable_or_flag_and_nothing_for_a_default(read: Any) -> None:
    settings = read('[kernel]\n\nport = 1\nhost = "x"\n', {"ROOFTREE_HOST": "y"}, data_dir=Path("/d"))

    assert settings.origin("kernel.port") == "rooftree.toml line 3"
    assert settings.origin("kernel.host") == "environment ROOFTREE_HOST"
    assert settings.origin("kernel.data_dir") == "flag --data-dir"
    assert settings.origin("kernel.log_level") is None
    assert settings.is_set("kernel.port")
    assert not settings.is_set("kernel.log_level")


def test_plugin_settings_have_origins_from_every_source(read: Any) -> None:
    text = '[plugins.store]\nfollow = false\ngit = {depth = 2}\n[plugins.supervisor]\n"timezone" = "UTC"\n'
    settings = read(text, {"ROOFTREE_PLUGINS__STORE__RATIO": "0.1", "ROOFTREE_PLUGINS__BOARD_YELLOW__DEPTH": "4"})

    assert settings.origin("plugins.supervisor.timezone") == "rooftree.toml line 5"
    assert settings.origin("plugins.store.git.depth") == "rooftree.toml line 3"
    assert settings.origin("plugins.store.ratio") == "environment ROOFTREE_PLUGINS__STORE__RATIO"
    assert settings.origin("plugins.board-yellow.depth") == "environment ROOFTREE_PLUGINS__BOARD_YELLOW__DEPTH"
    assert not settings.is_set("plugins.store.git.proxy")


def test_origin_looks_into_an_object_given_as_json_by_the_environment(read: Any) -> None:
    settings = read("", {"ROOFTREE_PLUGINS__STORE__GIT": '{"depth": 5}'})

    assert settings.section("store", StoreSettings).git == Git(depth=5)
    assert settings.origin("plugins.store.git.depth") == "environment ROOFTREE_PLUGINS__STORE__GIT"
    assert not settings.is_set("plugins.store.git.proxy")


def test_flags_that_are_none_and_variables_that_are_empty_were_not_given(read: Any) -> None:
    settings = read("[kernel]\nport = 1\n", {"ROOFTREE_PORT": ""}, port=None)

    assert settings.kernel.port == 1


def test_flags_may_set_plugin_settings_by_dotted_name(tmp_path: Path) -> None:
    settings = load(config=None, environ={"ROOFTREE_CONFIG": ""}, flags={"plugins.store.reload_every": 60})

    assert settings.section("store", StoreSettings).reload_every == 60
    assert settings.origin("plugins.store.reload_every") == "flag --reload-every"


# --- places and files


def test_socket_lies_in_the_data_folder_unless_set(read: Any) -> None:
    assert read("", data_dir=Path("/d")).kernel.socket == Path("/d/rooftree.sock")
    assert read('[kernel]\ndata_dir = "/d"\nsocket = "/s"').kernel.socket == Path("/s")


def test_paths_in_the_file_are_relative_to_it_and_others_to_the_working_folder(read: Any, tmp_path: Path) -> None:
    text = '[kernel]\ndata_dir = "data"\n[plugins.store]\ncache = "cache"\n'

    settings = read(text, {"ROOFTREE_SOCKET": "run.sock"})

    assert settings.kernel.data_dir == tmp_path / "data"
    assert settings.kernel.socket == Path.cwd() / "run.sock"
    assert settings.section("store", StoreSettings).cache == tmp_path / "cache"


def test_empty_path_is_refused_rather_than_taken_for_the_folder_of_the_file(read: Any) -> None:
    (problem,) = problems_of(read, '[kernel]\ndata_dir = ""\n')

    assert problem.endswith("rooftree.toml line 2: kernel.data_dir must be a path, and is empty")


def test_default_places_of_root_are_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    places = default_places({"XDG_CONFIG_HOME": "/c"})

    assert (places.config, places.data_dir) == (Path("/etc/rooftree/rooftree.toml"), Path("/var/lib/rooftree"))


def test_default_places_of_others_follow_xdg_and_ignore_relative_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    places = default_places({"HOME": "/home/x", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "relative"})

    assert places.config == Path("/c/rooftree/rooftree.toml")
    assert places.data_dir == Path("/home/x/.local/share/rooftree")


def test_file_at_its_default_place_is_read_and_may_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    environ = {"HOME": str(tmp_path)}
    assert load(config=None, environ=environ, flags={}).file is None

    file = tmp_path / ".config" / "rooftree" / "rooftree.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[kernel]\nport = 7\n")

    settings = load(config=None, environ=environ, flags={})
    assert (settings.file, settings.kernel.port) == (file, 7)


def test_environment_may_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[kernel]\nport = 7\n")

    settings = load(config=None, environ={"ROOFTREE_CONFIG": str(file)}, flags={})

    assert settings.kernel.port == 7
    assert settings.origin("kernel.port") == "other.toml line 2"


def test_file_that_was_named_must_exist(tmp_path: Path) -> None:
    (problem,) = problems_of(load, config=tmp_path / "absent.toml", environ={}, flags={})

    assert problem.startswith(f"{tmp_path}/absent.toml: there is no such file")


def test_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    (problem,) = problems_of(load, config=tmp_path, environ={}, flags={})

    assert problem == f"{tmp_path}: can't be read (Is a directory)"


def test_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"[kernel]\n\xff")

    (problem,) = problems_of(load, config=tmp_path / "x.toml", environ={}, flags={})

    assert "is not UTF-8 text (byte 9)" in problem


def test_file_with_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf[kernel]\r\n# c\r\nport = 3\r\n")

    settings = load(config=tmp_path / "x.toml", environ={}, flags={})

    assert settings.origin("kernel.port") == "x.toml line 3"


def test_broken_toml_is_told_with_line_and_column(read: Any) -> None:
    (problem,) = problems_of(read, "[kernel]\nport = = 3\n")

    assert "rooftree.toml line 2, column 8: this is not TOML: " in problem


# --- mistakes


def test_unknown_key_names_file_line_and_near_miss(read: Any, tmp_path: Path) -> None:
    (problem,) = problems_of(read, "[kernel]\nprot = 3\n")

    assert problem == (f"{tmp_path}/rooftree.toml line 2: kernel.prot is not a setting; did you mean kernel.port?")


def test_unknown_key_without_near_miss_lists_what_there_is(read: Any) -> None:
    (problem,) = problems_of(read, "[kernel]\nzzz = 3\n")

    assert "known are kernel.data_dir, kernel.host, kernel.port" in problem


def test_unknown_variable_suggests_the_variable(read: Any) -> None:
    (problem,) = problems_of(read, "", {"ROOFTREE_PROT": "3"})

    assert problem == "environment ROOFTREE_PROT: kernel.prot is not a setting; did you mean ROOFTREE_PORT?"


def test_variables_of_others_and_of_test_instruments_are_no_settings(read: Any) -> None:
    environ = {"PORT": "1", "ROOFTREE_TRACE_HOOKS": "1", "ROOFTREE_FAILPOINTS": "x=kill", "ROOFTREE_TEST_X": "1"}

    assert read("", environ).kernel.port == 8480


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kernal]\nport = 1", "kernal is not known here; did you mean [kernel]?"),
        ("port = 1", "port is not known here; did you mean port in the table [kernel]?"),
        ("[zzz]", "zzz is not known here; there are [kernel], [plugins], and [plugins.<name>]"),
        ("kernel = 3", "kernel must be a table, [kernel]"),
        ("plugins = []", "plugins must be a table, [plugins]"),
        ("[plugins]\nenable = ['x']", "plugins.enable is not a setting; did you mean plugins.enabled?"),
    ],
)
def test_misplaced_tables_and_keys_are_told(read: Any, text: str, message: str) -> None:
    (problem,) = problems_of(read, text)

    assert message in problem
    assert "rooftree.toml line " in problem


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("port = '80'", "kernel.port must be a whole number, not '80'"),
        ("port = true", "kernel.port must be a whole number, not true"),
        ("port = 70_000", "kernel.port must be from 0 to 65535, not 70000"),
        ("port = -1", "kernel.port must be from 0 to 65535, not -1"),
        ("host = 1", "kernel.host must be a string, not 1"),
        ("log_format = 'loud'", "kernel.log_format must be one of 'text', 'json', not 'loud'"),
        ("start_timeout_s = nan", "kernel.start_timeout_s must be from 0.1 to 3600, not nan"),
        ("data_dir = '~nobody-here/x'", "kernel.data_dir "),
    ],
)  # fmt: skip
def test_wrong_values_name_key_line_and_what_is_allowed(read: Any, line: str, message: str) -> None:
    (problem,) = problems_of(read, f"[kernel]\n{line}\n")

    assert f"rooftree.toml line 2: {message}" in problem


def test_all_problems_are_told_at_once(read: Any) -> None:
    problems = problems_of(read, "x = 1\n[kernel]\nport = ''\nhots = ''\n", {"ROOFTREE_LOG_LEVEL": "q"}, host=3)

    assert len(problems) == 5
    assert any("flag --host" in problem for problem in problems)


def test_name_both_enabled_and_disabled_is_refused(read: Any) -> None:
    (problem,) = problems_of(read, "[plugins]\nenabled = ['store']\ndisabled = ['store']\n")

    assert problem == "plugins.enabled and plugins.disabled both name store: keep it in one of them"


# --- plugins


def test_absent_section_has_its_defaults(read: Any) -> None:
    assert read().section("store", StoreSettings) == StoreSettings()


def test_section_joins_file_and_environment(read: Any) -> None:
    text = "[plugins.store]\nreload_every = 100\nbranches = ['a', 'b']\n[plugins.store.git]\ndepth = 3\nproxy = 'p'\n"
    environ = {
        "ROOFTREE_PLUGINS__STORE__RELOAD_EVERY": "200",
        "ROOFTREE_PLUGINS__STORE__GIT__DEPTH": "4",
        "ROOFTREE_PLUGINS__STORE__FOLLOW": "No",
        "ROOFTREE_PLUGINS__STORE__PORTS": "1, 2,3",
        "ROOFTREE_PLUGINS__STORE__COLOUR": "BLUE",
        "ROOFTREE_PLUGINS__STORE__MODE": "slow",
        "ROOFTREE_PLUGINS__STORE__HEADERS": '{"a": "b"}',
        "ROOFTREE_PLUGINS__STORE__HOST": "h",
    }

    section = read(text, environ).section("store", StoreSettings)

    assert section == StoreSettings(
        reload_every=200,
        follow=False,
        branches=("a", "b"),
        ports=[1, 2, 3],
        git=Git(depth=4, proxy="p"),
        colour=Colour.BLUE,
        mode="Slow",
        headers={"a": "b"},
        host=HostName("h"),
    )


def test_section_tells_everything_that_is_wrong_with_its_place(read: Any, tmp_path: Path) -> None:
    text = "[plugins.store]\nreload_evry = 1\nports = [1, 'x']\ngit.depth = 'deep'\nhost = 'a b'\n"
    settings = read(text, {"ROOFTREE_PLUGINS__STORE__RATIO": "much", "ROOFTREE_PLUGINS__STORE__RELOAD_EVERY": "59"})

    problems = problems_of(settings.section, "store", StoreSettings)

    file = f"{tmp_path}/rooftree.toml"
    assert sorted(problems) == sorted(
        (
            f"{file} line 2: plugins.store.reload_evry is not a setting; did you mean plugins.store.reload_every?",
            f"{file} line 3: plugins.store.ports[1]: must be a whole number, not 'x'",
            f"{file} line 4: plugins.store.git.depth must be a whole number, not 'deep'",
            f"{file} line 5: plugins.store.host must be a host name without spaces",
            "environment ROOFTREE_PLUGINS__STORE__RATIO: plugins.store.ratio must be a number, not 'much'",
            "environment ROOFTREE_PLUGINS__STORE__RELOAD_EVERY: plugins.store.reload_every must be from 60 to 1000000, "
            "not 59",
        )
    )


def test_values_that_look_secret_are_not_repeated_in_a_message(read: Any) -> None:
    settings = read("[plugins.store]\napi_token = 'hunter2'\n")

    (problem,) = problems_of(settings.section, "store", StoreSettings)

    assert "line 2: plugins.store.api_token is not of the right form" in problem
    assert "hunter2" not in problem


def test_required_setting_that_is_missing_says_how_to_give_it(read: Any, tmp_path: Path) -> None:
    (problem,) = problems_of(read().section, "x-y", UrlSettings)

    assert problem == (
        f"plugins.x-y.url is required: set it in {tmp_path}/rooftree.toml, or with ROOFTREE_PLUGINS__X_Y__URL"
    )


def test_what_fields_say_about_each_other_is_told_with_the_table(read: Any) -> None:
    (problem,) = problems_of(read("[plugins.w]\nfirst = 3\n").section, "w", Window)

    assert problem.endswith("rooftree.toml line 1: plugins.w: first must not be after last")


def test_part_of_a_value_that_is_one_whole_is_refused_rather_than_ignored(read: Any) -> None:
    settings = read("", {"ROOFTREE_PLUGINS__STORE__HEADERS__A": "b"})

    (problem,) = problems_of(settings.section, "store", StoreSettings)

    assert problem.endswith(
        "plugins.store.headers is one value here; give it whole, in ROOFTREE_PLUGINS__STORE__HEADERS"
    )


def test_all_installed_plugins_run_unless_chosen_otherwise(read: Any) -> None:
    everything = read()
    some = read("[plugins]\nenabled = ['store']\n")
    others = read("", {"ROOFTREE_PLUGINS__DISABLED": "store"})

    assert everything.runs("store")
    assert (some.runs("store"), some.runs("addons")) == (True, False)
    assert (others.runs("store"), others.runs("addons")) == (False, True)
    assert others.origin("plugins.disabled") == "environment ROOFTREE_PLUGINS__DISABLED"


def test_check_sections_finds_nothing_wrong_with_good_settings(read: Any) -> None:
    text = "[plugins]\nenabled = ['store', 'board-yellow']\n[plugins.store]\n[plugins.board-yellow]\ndepth = 1\n"

    assert read(text, {"ROOFTREE_PLUGINS__BOARD_YELLOW__PROXY": "p"}).check_sections(KNOWN, running=KNOWN) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[plugins.stroe]", "line 1: plugins.stroe: no plugin stroe is installed; did you mean plugins.store?"),
        ("[plugins.zzz]", "no plugin zzz is installed; installed are addons, board-yellow, store"),
        ("[plugins.addons]\nx = 1", "line 1: plugins.addons: the plugin addons has no settings; remove this"),
        ("[plugins.store]\nratio = ''", "line 2: plugins.store.ratio must be a number"),
        ("[plugins]\nenabled = ['stroe']", "line 2: plugins.enabled: no plugin stroe is installed; did you mean store"),
        ("[plugins]\ndisabled = ['x']", "line 2: plugins.disabled: no plugin x is installed"),
    ],
)  # fmt: skip
def test_check_sections_tells_what_is_wrong(read: Any, text: str, message: str) -> None:
    (problem,) = read(text).check_sections(KNOWN, running=KNOWN)

    assert message in problem


def test_check_sections_finds_variables_of_plugins_that_are_not_installed(read: Any) -> None:
    (problem,) = read("", {"ROOFTREE_PLUGINS__STROE__X": "1"}).check_sections(KNOWN, running=KNOWN)

    assert problem == (
        "environment ROOFTREE_PLUGINS__STROE__X: plugins.stroe.x: no plugin stroe is installed; "
        "did you mean plugins.store?"
    )


def test_check_sections_leaves_what_can_not_be_checked(read: Any) -> None:
    settings = read("[plugins.addons]\nx = 1\n[plugins.store]\nx = 1\n")

    assert settings.check_sections(KNOWN, running=KNOWN, unchecked=["addons", "store"]) == []


def test_one_plugin_under_two_spellings_is_refused(read: Any) -> None:
    (problem,) = problems_of(read, "[plugins.a-b]\nx = 1\n[plugins.a_b]\nx = 2\n")

    assert "line 3: plugins.a_b is the same plugin as plugins.a-b" in problem


# --- environment texts

few = hypothesis_settings(max_examples=30)
PLAIN = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


@few
@given(st.integers())
def test_whole_numbers_are_read_back(number: int) -> None:
    assert parse_text(f" {number} ", int) == number


@few
@given(st.floats(allow_nan=False))
def test_numbers_are_read_back(number: float) -> None:
    assert parse_text(repr(number), float) == number


@few
@given(st.booleans(), st.sampled_from([("true", "false"), ("yes", "no"), ("on", "off"), ("1", "0")]), st.booleans())
def test_true_and_false_have_several_spellings(value: bool, spellings: tuple[str, str], loud: bool) -> None:
    text = spellings[0] if value else spellings[1]

    assert parse_text(text.upper() if loud else text, bool) is value


@few
@given(st.lists(st.integers()))
def test_lists_are_read_from_commas_and_from_json(numbers: list[int]) -> None:
    assert parse_text(",".join(map(str, numbers)), list[int]) == numbers
    assert parse_text(json.dumps(numbers), tuple[int, ...]) == numbers


@few
@given(st.lists(st.text()))
def test_any_strings_can_be_given_as_json(texts: list[str]) -> None:
    assert parse_text(json.dumps(texts), list[str]) == texts


@few
@given(st.lists(PLAIN))
def test_plain_strings_can_be_given_with_commas(texts: list[str]) -> None:
    assert parse_text(", ".join(texts), tuple[str, ...]) == texts


@few
@given(st.text())
def test_strings_are_taken_as_they_are(text: str) -> None:
    assert parse_text(text, str) == text
    assert parse_text(text, str | None) == text


@few
@given(st.text(), st.sampled_from([int, float, bool, int | None, Literal["a"], Colour, tuple[int, str], Git]))
def test_any_text_is_either_read_or_refused_in_a_sentence(text: str, kind: Any) -> None:
    section = attrs.make_class("Section", {"value": attrs.field(type=kind, default=None)}, frozen=True)
    environ = {"ROOFTREE_CONFIG": "", "ROOFTREE_PLUGINS__X__VALUE": text}
    settings = load(config=None, environ=environ, flags={})

    try:
        settings.section("x", section)
    except SettingsInvalid as error:
        assert all(
            problem.startswith("environment ROOFTREE_PLUGINS__X__VALUE: plugins.x.value") for problem in error.problems
        )


def test_union_takes_the_first_member_that_accepts(read: Any) -> None:
    assert parse_text("5", int | str) == 5
    assert parse_text("five", int | str) == "five"
    assert parse_text("a,5", tuple[str, int]) == ["a", 5]


# --- lines of keys


def paths(tree: Mapping[str, Any], outer: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The key of everything in a document, but not inside arrays."""
    for name, value in tree.items():
        yield (*outer, name)
        if isinstance(value, dict):
            yield from paths(value, (*outer, name))


def test_lines_of_a_document_with_every_spelling() -> None:
    text = '''# top
title = "x" # = [y]
[a]
"quoted key" = 1
'lit.eral' . sub = """
[not.a.table]
key = "no"
"""
multi = [ # comment ]
  "]", [1, {x = 1}],
]
[a.inline]
t = { u = 1, "v w" = { x = [1, 2], y = 'z}' } }
[[list]]
name = 1
[[list]]
name = 2
[ "b" . 'c' ]
3.14 = 1979-05-27 07:32:00
"\\u00e4" = """a""""
empty = {}
'''

    assert key_lines(text) == {
        ("title",): 2,
        ("a",): 3,
        ("a", "quoted key"): 4,
        ("a", "lit.eral"): 5,
        ("a", "lit.eral", "sub"): 5,
        ("a", "multi"): 9,
        ("a", "inline"): 12,
        ("a", "inline", "t"): 13,
        ("a", "inline", "t", "u"): 13,
        ("a", "inline", "t", "v w"): 13,
        ("a", "inline", "t", "v w", "x"): 13,
        ("a", "inline", "t", "v w", "y"): 13,
        ("list",): 14,
        ("list", "name"): 15,
        ("b",): 18,
        ("b", "c"): 18,
        ("b", "c", "3"): 19,
        ("b", "c", "3", "14"): 19,
        ("b", "c", "ä"): 20,
        ("b", "c", "empty"): 21,
    }


SCALARS = (
    "1", "-0.5e3", "true", "inf", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00", '""', "''", '"a # b = [c]"',
    "'{x = 1}'",     '"\\"]"', '"""\n[t]\nk = 1\n"""', "'''\n\"\"\"\n'''",
    '""""a\\\\"""""', "''''a'''''",
)  # fmt: skip
scalars = st.sampled_from(SCALARS)
names = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6),
)
inline = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[ # [\n {',\n'.join(items)} ]" if items else "[]"),
        st.dictionaries(names, inner.filter(lambda text: "#" not in text or "\n" not in text), max_size=3).map(
            lambda items: "{" + ", ".join(f"{spelt(name)} = {value}" for name, value in items.items()) + "}"
        ),
    ),
    max_leaves=5,
)
tables = st.dictionaries(names, st.dictionaries(names, inline, max_size=4), max_size=4)


def spelt(name: str) -> str:
    bare = name and name.isascii() and all(char.isalnum() or char in "-_" for char in name)
    return name if bare else json.dumps(name, ensure_ascii=False)


@few
@given(st.dictionaries(names, inline, max_size=3), tables, st.booleans())
def test_every_key_of_any_document_is_found_on_its_line(
    top: dict[str, str], tables: dict[str, dict[str, str]], crlf: bool
) -> None:
    text = ""
    expected: dict[tuple[str, ...], int] = {}
    for name, value in top.items():
        expected[(name,)] = text.count("\n") + 1
        text += f"{spelt(name)} = {value} # = [\n"
    for table, content in tables.items():
        if table in top:
            continue
        expected[(table,)] = text.count("\n") + 1
        text += f"[ {spelt(table)} ]\n"
        for name, value in content.items():
            expected[(table, name)] = text.count("\n") + 1
            text += f"\t{spelt(name)}={value}\n\n"
    if crlf:
        text = text.replace("\n", "\r\n")

    found = key_lines(text)

    assert set(found) == set(paths(tomllib.loads(text)))
    assert {key: found[key] for key in expected} == expected


# --- secrets


@pytest.mark.parametrize(
    "key", ["token", "api_token", "Authorization", "PASSWORD", "client-secret", "apikey", "api_key"]
)
def test_names_of_secrets_are_known(key: str) -> None:
    assert looks_secret(key)


@pytest.mark.parametrize("key", ["token_id", "token_name", "password_file", "name", "event", "key", "author"])
def test_names_about_secrets_are_no_secrets(key: str) -> None:
    assert not looks_secret(key)
