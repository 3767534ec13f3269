"""``help()`` shows what the docstrings of attributes say, and the API's documents still get each where it belongs."""

from __future__ import annotations

import inspect
import pydoc

import pytest

import rooftree
from rooftree.interfaces.boards import Board
from rooftree.source_texts import tell_whole, texts_of


def test_help_shows_what_is_said_of_a_classs_attributes() -> None:
    shown = pydoc.plain(pydoc.render_doc(rooftree.Step))

    assert "weight: How much of a job's progress this step is, beside its neighbours." in shown
    assert "async def undo(self, before: str | None" in shown


@pytest.mark.parametrize("name", rooftree.__all__)
def test_each_public_class_tells_of_every_attribute_that_has_a_text(name: str) -> None:
    kind = getattr(rooftree, name)
    if not isinstance(kind, type):
        return
    prefix = f"{kind.__qualname__}."
    said = {key.removeprefix(prefix) for key in texts_of(kind.__module__) if key.startswith(prefix)}

    assert {attribute for attribute in said if f"\n\n{attribute}: " not in (kind.__doc__ or "")} == set()


def test_boards_tell_too_and_what_derives_from_them_has_its_own_text() -> None:
    class Lamp(Board):
        """A lamp."""

    assert "needs_reboot: Whether changed settings are in effect" in str(inspect.getdoc(Board))
    assert Lamp.__doc__ == "A lamp."


def test_what_is_no_class_or_nobody_wrote_a_text_for_is_left_as_it_is() -> None:
    class Silent: ...

    assert tell_whole(7) == 7
    assert tell_whole(Silent).__doc__ is None
    assert texts_of("no.such.module") == {}
