"""The pages of documentation come with what is installed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.environments import Environment
from tests.workspace import ROOT

PAGES = sorted(file.stem for file in (ROOT / "docs").glob("*.md"))
READMES = sorted([*ROOT.glob("plugins/*/README.md"), *ROOT.glob("examples/*/README.md"), ROOT / "core" / "README.md"])


@pytest.mark.xdist_group("packaging")
@pytest.mark.timeout(600)
def test_every_page_is_installed_with_the_kernel(new_environment: Callable[[], Environment]) -> None:
    environment = new_environment()

    listed = json.loads(environment.run("rooftree", "docs", "--json"))

    assert [page["name"] for page in listed] == PAGES
    assert all(page["file"].startswith(str(environment.folder)) for page in listed)
    assert environment.run("rooftree", "docs", "hooks") == (ROOT / "docs" / "hooks.md").read_text()


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.parent.name)
def test_readme_of_a_distribution_says_how_an_installed_one_shows_a_page(readme: Path) -> None:
    """It is what an index shows of it, where a link to a file beside it leads nowhere."""
    text = readme.read_text()

    links = re.findall(r"\[([^\]]*)\]\(\.\./(?:\.\./)?docs/([a-z-]+)\.md\)", text)

    assert all(name == f"`rooftree docs {page}`" and page in PAGES for name, page in links), links
