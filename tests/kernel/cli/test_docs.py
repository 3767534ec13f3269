"""``rooftree docs``: the pages of documentation, by name."""

from __future__ import annotations

import json
import re

from click.testing import CliRunner, Result

from rooftree.cli import rooftree
from rooftree.cli.docs import PAGES
from tests.rig.terminal import on_a_terminal


def docs(*arguments: str) -> Result:
    return CliRunner().invoke(rooftree, ["docs", *arguments])


def test_pages_are_listed_with_what_they_are_about() -> None:
    listed = docs()

    assert listed.exit_code == 0
    assert re.search(r"^first-plugin +A first plugin, in one file$", listed.output, re.MULTILINE)
    assert len(listed.output.splitlines()) == 1 + len(list(PAGES.glob("*.md")))


def test_page_is_shown_as_it_is_where_no_person_reads() -> None:
    assert docs("hooks").output == (PAGES / "hooks.md").read_text()


async def test_page_is_set_in_type_for_a_person() -> None:
    code, shown = await on_a_terminal("docs", "plugin-recipes", environment={"PAGER": "cat", "COLUMNS": "100"})

    assert code == 0
    assert b"# Recipes" not in shown and b"Recipes for plugins" in shown
    assert b"first-plugin.md" in shown


def test_page_is_understood_as_other_pages_name_it() -> None:
    assert docs("hooks.md#answers").output == docs("docs/hooks.md").output == docs("hooks").output


def test_pages_name_each_other_by_names_that_are_understood() -> None:
    named = {page for file in PAGES.glob("*.md") for page in re.findall(r"\]\(([a-z-]+\.md)[)#]", file.read_text())}

    assert len(named) > 10
    assert {page: docs(page).exit_code for page in named} == dict.fromkeys(named, 0)


def test_misspelt_page_is_refused_with_what_was_meant() -> None:
    refused = docs("hoks")

    assert refused.exit_code == 2
    assert "there is no page 'hoks'; did you mean hooks?" in " ".join(refused.output.split())


def test_page_of_another_world_is_refused_with_what_there_is() -> None:
    refused = docs("../../etc/passwd")

    assert refused.exit_code == 2
    assert "there are access, addon-authors" in " ".join(refused.output.split())


def test_programs_get_the_text_with_its_title() -> None:
    told = json.loads(docs("vaults", "--json").output)

    assert told["title"] == "Vaults"
    assert told["text"].startswith("# Vaults\n")
