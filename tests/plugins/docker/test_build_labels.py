"""Labels that an image gets from its Dockerfile, as long as the builder takes them for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree_docker.build_context import build_context
from rooftree_docker.build_labels import LONGEST_CHARS, with_labels
from rooftree_files import Folder


async def labelled(folder: Path, dockerfile: str, labels: dict[str, str]) -> tuple[str, dict[str, str]]:
    """What is built, and the labels that are told beside it."""
    (folder / "Dockerfile").write_text(dockerfile)
    async with build_context(lambda: Folder.open(folder), "Dockerfile") as context:
        changed, told = with_labels(context, labels)
    return changed.text, told


@pytest.mark.parametrize("dockerfile", ["FROM scratch", "FROM scratch\n", "FROM a\n# b\nFROM scratch\nCMD x\n\n"])
async def test_labels_are_one_instruction_and_the_last(tmp_path: Path, dockerfile: str) -> None:
    text, told = await labelled(tmp_path, dockerfile, {"io.hass.name": "It's größer", "empty": ""})

    assert text == f'{dockerfile}\nLABEL "io.hass.name"="It\'s größer" "empty"=""\n'
    assert told == {}


@pytest.mark.parametrize(
    "value", ['say "x"', "$HOME", "`", "a\\", "two\nlines", "\0", "x\r", "\x1b[1m", "x" * (LONGEST_CHARS + 1)]
)
async def test_value_that_the_builder_would_read_otherwise_is_told_beside(tmp_path: Path, value: str) -> None:
    text, told = await labelled(tmp_path, "FROM scratch\n", {"odd": value, "plain": "1"})

    assert (text, told) == ('FROM scratch\n\nLABEL "plain"="1"\n', {"odd": value})


async def test_odd_name_is_told_beside(tmp_path: Path) -> None:
    assert await labelled(tmp_path, "FROM scratch\n", {'a"b': "1"}) == ("FROM scratch\n", {'a"b': "1"})


@pytest.mark.parametrize(
    "ending", ["RUN x \\", "RUN x \\  \n\n", "RUN x \\\r\n", "RUN x `\n", "RUN x \\\n# why\n", "RUN x \\\n  # why\n \n"]
)
async def test_instruction_that_may_not_be_over_takes_no_label_in(tmp_path: Path, ending: str) -> None:
    text, told = await labelled(tmp_path, f"FROM scratch\n{ending}", {"plain": "1"})

    assert "LABEL" not in text
    assert told == {"plain": "1"}
