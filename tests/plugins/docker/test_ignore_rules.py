"""A ``.dockerignore`` means what Docker takes it to mean, and costs what it is long."""

from __future__ import annotations

import posixpath
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree.interfaces.containers import BuildFailed
from rooftree_docker.ignore_rules import LONGEST_PATTERN, MOST_PATTERNS, IgnoreRules
from tests.rig.pace import on_this_machine

MATCHES = [
    # From moby's own table of patterns (moby/patternmatcher), and its documentation.
    ("**", "file", True),
    ("**", "dir/file", True),
    ("**/", "file", True),
    ("**/**", "dir/file", True),
    ("dir/**", "dir/file", True),
    ("dir/**", "otherdir/file", False),
    ("dir/**", "dir/dir2/file", True),
    ("dir/**", "dir", False),
    ("**/dir", "dir", True),
    ("**/dir", "dir/file", True),
    ("**/dir2/*", "dir/dir2/file", True),
    ("**/dir2/*", "dir/dir2/dir2/file", True),
    ("**/dir2/**", "dir/dir2/dir2/file", True),
    ("**file", "file", True),
    ("**file", "dir/file", True),
    ("**file", "dir/myfile", True),
    ("**/file", "dir/myfile", False),
    ("**/file", "dir/dir/file", True),
    ("**/file*", "dir/dir/file.txt", True),
    ("**/file*txt", "dir/dir/file.txt", True),
    ("**/file*.txt", "dir/dir/file.txt", True),
    ("**/file*.txt*", "dir/dir/file.txt", True),
    ("**/**/*.txt", "dir/dir/file.txt", True),
    ("**/**/*.txt2", "dir/dir/file.txt", False),
    ("**/*.txt", "file.txt", True),
    ("**/**/*.txt", "file.txt", True),
    ("a**/*.txt", "a/file.txt", True),
    ("a**/*.txt", "a/dir/file.txt", True),
    ("a**/*.txt", "a/dir/dir/file.txt", True),
    ("a/*.txt", "a/dir/file.txt", False),
    ("a/*.txt", "a/file.txt", True),
    ("a/*.txt**", "a/file.txt", True),
    ("a[b-d]e", "ae", False),
    ("a[b-d]e", "ace", True),
    ("a[b-d]e", "aae", False),
    ("a[^b-d]e", "aze", True),
    (".*", ".foo", True),
    (".*", "foo", False),
    ("abc.def", "abcdef", False),
    ("abc.def", "abc.def", True),
    ("abc.def", "abcZdef", False),
    ("abc?def", "abcZdef", True),
    ("abc?def", "abcdef", False),
    ("a\\*b", "a*b", True),
    ("a\\*b", "aab", False),
    ("**/foo/bar", "foo/bar", True),
    ("**/foo/bar", "dir/foo/bar", True),
    ("**/foo/bar", "dir/dir2/foo/bar", True),
    ("abc/**", "abc/def/ghi", True),
    ("**/.foo", ".foo", True),
    ("**/.foo", "bar.foo", False),
    ("a(b)c/def", "a(b)c/def", True),
    ("a(b)c/def", "a(b)c/xyz", False),
    ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
    ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", True),
    ("*/temp*", "somedir/temporary.txt", True),
    ("*/*/temp*", "somedir/subdir/temporary.txt", True),
    ("*/*/temp*", "somedir/temporary.txt", False),
    ("temp?", "tempa", True),
    # Lines as its reader cleans them.
    ("/foo", "foo", True),
    ("foo/../bar/", "bar", True),
    ("  foo  ", "foo", True),
    ("#foo", "#foo", False),
    ("\ufefffoo", "foo", True),
    ("foo\r\nbar\r", "bar", True),
    (".", "foo", False),
    ("/", "foo", False),
    # What is in a folder goes with it, and may come back.
    ("foo", "foo/a/b", True),
    ("*\n!README.md", "README.md", False),
    ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
    ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", False),
    ("foo\n!foo/bar", "foo/bar/a", False),
    ("foo\n!foo/bar\nfoo", "foo/bar", True),
    ("! foo", "foo", False),
    ("*\n!**/*.go", "a/b/c.go", False),
]


@pytest.mark.parametrize(("text", "path", "left_out"), MATCHES)
def test_patterns_mean_what_docker_means(text: str, path: str, left_out: bool) -> None:
    assert IgnoreRules.parse(text).leave_out(path) is left_out


@pytest.mark.parametrize("pattern", ["[", "[]a]", "[-a]", "[a-]", "[a", "a\\", "[a\\", "!", "x[^]"])
def test_pattern_that_docker_refuses_is_refused_with_its_line(pattern: str) -> None:
    with pytest.raises(BuildFailed, match="line 2"):
        IgnoreRules.parse(f"fine\n{pattern}\n")


@pytest.mark.parametrize(
    "text", ["a" * (LONGEST_PATTERN + 1), "a\n" * (MOST_PATTERNS + 1), ("a" * LONGEST_PATTERN + "\n") * 17]
)
def test_more_than_is_taken_is_refused_by_name(text: str) -> None:
    with pytest.raises(BuildFailed, match=r"line \d+: .*(at most|no more)"):
        IgnoreRules.parse(text)


def test_paths_that_are_always_sent_are_sent() -> None:
    rules = IgnoreRules.parse("**", ["sub/Dockerfile*"])

    assert not rules.leave_out("sub/Dockerfile*")
    assert rules.leave_out("sub/Dockerfile1")
    assert rules.leave_out("sub/other")


def expression(pattern: str) -> str:
    """Moby's own translation."""
    if pattern.startswith("**") and not set(pattern[2:]) & set("*?[\\"):
        ending = re.escape(pattern[2:])
        return f"(.*{ending}|{re.escape(pattern[3:])})" if pattern[2:3] == "/" else f".*{ending}"
    written, at = "", 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("**"):
            at += 3 if rest.startswith("**/") else 2
            written += "(.*/)?" if at < len(pattern) else ".*"
        elif rest[0] == "[":
            end = rest.index("]", 2)
            written, at = written + rest[: end + 1], at + end + 1
        else:
            at += 1
            written += {"*": "[^/]*", "?": "[^/]"}.get(rest[0], re.escape(rest[0]))
    return written


def leaves_out(patterns: list[str], path: str) -> bool:
    names = path.split("/")
    paths = ["/".join(names[: count + 1]) for count in range(len(names))]
    left_out = False
    for pattern in patterns:
        clean = posixpath.normpath(pattern.removeprefix("!"))
        if any(re.fullmatch(expression(clean), one, re.DOTALL) for one in paths):
            left_out = not pattern.startswith("!")
    return left_out


PIECES = st.sampled_from(["a", "b", "*", "**", "**/", "?", "/", "[ab]", "[^a]", "[a-c]", "."])
PATTERNS = st.lists(PIECES, min_size=1, max_size=7).map(lambda pieces: "a" + "".join(pieces)) | st.lists(
    PIECES, min_size=1, max_size=7
).map("".join)
NAMES = st.text("abc.", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})


@given(
    st.lists(st.tuples(st.sampled_from(["", "!"]), PATTERNS).map("".join), min_size=1, max_size=4),
    st.lists(NAMES, min_size=1, max_size=4).map("/".join),
)
def test_all_patterns_at_once_are_as_one_after_the_other(patterns: list[str], path: str) -> None:
    usable = [one for one in patterns if posixpath.normpath(one.removeprefix("!").lstrip("/") or "/") != "/"]
    usable = [one[0] + one[1:].lstrip("/") if one[0] == "!" else one.lstrip("/") for one in usable]

    rules = IgnoreRules.parse("\n".join(usable))

    assert rules.leave_out(path) is leaves_out(usable, path)


@given(
    st.lists(st.tuples(st.sampled_from(["", "!"]), PATTERNS).map("".join), min_size=1, max_size=4),
    st.lists(NAMES, min_size=2, max_size=5),
)
def test_nothing_comes_back_from_a_folder_that_is_said_to_be_final(patterns: list[str], names: list[str]) -> None:
    rules = IgnoreRules.parse("\n".join(patterns))
    place = rules.root
    final = False
    for name in names:
        place = rules.below(place, name)
        assert place.left_out or not final
        final = final or place.is_final


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("**/" * 340 + "x", "a/" * 2000 + "y"),
        ("*a" * 500, "a" * 4000 + "/b"),
        ("*" * 1000, "a" * 4000 + "/b"),
        (("*?" * 7 + "\n") * 999, "a" * 255 + "/" + "b" * 255),
        (("[^a]" * 4 + "\n") * 1000, "".join(map(chr, range(0x4000, 0x4100)))),
        ("".join(f"{'**/' * 30}{number}\n" for number in range(150)), "a/" * 2000 + "y"),
    ],
    ids=["folders", "stars", "only stars", "many patterns", "classes", "many of folders"],
)
def test_no_pattern_costs_more_than_its_length(text: str, path: str) -> None:
    began = time.process_time()

    IgnoreRules.parse(text).leave_out(path)

    assert time.process_time() - began < on_this_machine(2)
