"""Where a repository may come from: everything that reaches git's command line is checked by what is allowed."""

from __future__ import annotations

import pytest

from rooftree_store.logins import RepositoryAddress
from rooftree_store.sources import CORE_URL, RepositorySource


@pytest.mark.parametrize(
    ("text", "url", "branch"),
    [
        ("https://example.com/a", "https://example.com/a", None),
        ("http://example.com:8080/a/b.git", "http://example.com:8080/a/b.git", None),
        ("git://127.0.0.1:9418/a.git#main", "git://127.0.0.1:9418/a.git", "main"),
        ("ssh://git@example.com/a#feature/new-thing_1.0", "ssh://git@example.com/a", "feature/new-thing_1.0"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a", None),
        ("local", "local", None),
        ("core", CORE_URL, None),
    ],
)
def test_source_has_a_url_and_perhaps_a_branch(text: str, url: str, branch: str | None) -> None:
    source = RepositorySource.parse(text)

    assert (source.url, source.branch) == (url, branch)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/a",
        "/etc/passwd",
        "file:///etc",
        "ext::sh -c touch% /tmp/x",
        "ext::sh",
        "fd::17",
        "--upload-pack=touch /tmp/x",
        "-u",
        "ftp://example.com/a",
        "https://",
        "https:///a",
        "https://example.com",
        "https://example.com/",
        "https://-oProxyCommand=x/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://-x@example.com/a",
        "https://example.com:0/a",
        "https://example.com:99999/a",
        "https://example.com:port/a",
        "https://user:password@example.com/a",
        "https://:password@example.com/a",
        "https://access-token@example.com/a",
        "http://access-token@example.com/a",
        "https://exam ple.com/a",
        "https://example.com/a b",
        "https://example.com/a\nb",
        "https://example.com/a\x00",
        "https://example.com\\@evil.example/a",
        "https://example.com/a#",
        "https://example.com/a#-b",
        "https://example.com/a#../../b",
        "https://example.com/a#main branch",
        "https://example.com/a#main#other",
        "https://example.com/a#main;touch",
        "https://example.com/" + "a" * 1000,
        "git@github.com:owner/name",
    ],
)
def test_source_that_git_must_not_see_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|has) "):
        RepositorySource.parse(text)


def test_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="login") as refused:
        RepositorySource.parse("https://user:hunter2@example.com/a")

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("local", "local"),
        ("core", "core"),
        (CORE_URL, "core"),
        ("https://github.com/hassio-addons/repository", "a0d7b954"),
        ("https://github.com/Hassio-Addons/Repository", "a0d7b954"),
    ],
)
def test_slug_comes_from_the_source(text: str, slug: str) -> None:
    assert RepositorySource.parse(text).slug == slug


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("https://example.com/a", "https://example.com/a"),
        (" https://example.com/a/", "https://example.com/a"),
        ("\thttps://example.com/a//\r\n", "https://example.com/a"),
        ("https://example.com/a/#main", "https://example.com/a#main"),
        ("https://name:token@example.com/a/ ", "https://example.com/a"),
        ("https://example.com/a.git/", "https://example.com/a.git"),
        ("core ", "core"),
    ],
)
def test_address_is_entered_without_what_does_not_count(text: str, source: str) -> None:
    assert RepositoryAddress.parse(text).source == source


@pytest.mark.parametrize("text", ["https://example.com/", " ", "https://example.com/a b/", "https://exam\x00ple.com/a"])
def test_address_that_is_none_stays_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|has) "):
        RepositoryAddress.parse(text)


@pytest.mark.parametrize(
    ("text", "other", "same"),
    [
        ("https://example.com/a", "https://example.com/a/", True),
        ("https://example.com/a", "https://Example.com/A.git", True),
        ("https://example.com/a.git/#main", "https://example.com/a#main", True),
        ("https://example.com/a", "https://example.com/a#main", False),
        ("https://example.com/a", "http://example.com/a", False),
        ("https://example.com/a", "https://example.com/agit", False),
        ("core", CORE_URL + "/", True),
    ],
)
def test_what_stands_for_the_same_repository(text: str, other: str, same: bool) -> None:
    assert RepositorySource.parse(text).is_same_as(RepositorySource.parse(other)) is same


def test_branch_makes_another_repository() -> None:
    assert RepositorySource.parse("https://a.b/c#x").slug != RepositorySource.parse("https://a.b/c").slug
