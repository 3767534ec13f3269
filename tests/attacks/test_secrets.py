"""Add-ons that want Core's secrets: by references in their own options, and by what refusals say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.attacks.local_addons import hostile, says
from tests.rig.addon import Addon
from tests.rig.daemon import disposable_daemon
from tests.rig.engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: secrets")]

SECRETS = "front_door: open sesame\nshort: a\nnumber: 42\n"
SCHEMA: dict[str, Any] = {
    "options": {"name": "x", "deep": []},
    "schema": {
        "name": "str", "word": "password?", "number": "int(40,50)?", "starts_with_o": "match(^o.*)?",
        "list": ["str?"], "which": "list(open sesame|other)?", "port": "port?", "deep": [{"word": "str?"}],
    },
}  # fmt: skip
"""With types that would tell of a value by refusing it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spy(engine: Engine, base_image: str) -> AsyncIterator[Addon]:
    """An add-on without any role, beside a Core with secrets."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        (daemon.data_dir / "homeassistant" / "secrets.yaml").write_text(SECRETS)
        addon = await hostile(daemon, engine, base_image, "spy", **SCHEMA)
        await addon.start()
        yield addon


PLACES: list[dict[str, Any]] = [
    {"word": "{}"}, {"name": "{}"}, {"number": "{}"}, {"starts_with_o": "{}"}, {"list": ["{}"]}, {"which": "{}"},
    {"port": "{}"}, {"deep": [{"word": "{}"}]},
]  # fmt: skip


def filled(place: Any, words: str) -> Any:
    """The options with these words in the place."""
    if isinstance(place, dict):
        return {name: filled(inner, words) for name, inner in place.items()}
    return [filled(inner, words) for inner in place] if isinstance(place, list) else place.replace("{}", words)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: next(iter(place)))
@pytest.mark.parametrize("verb", ["options", "options/validate"])
async def test_reference_is_refused_and_the_refusal_tells_nothing(spy: Addon, place: dict[str, Any], verb: str) -> None:
    answers, token = set(), spy.token()
    for name in ("front_door", "number", "short", "no_such_secret", "", "  front_door  ", "front_door\n"):
        options = {"name": "x", "deep": []} | filled(place, f"!secret {name}")
        body = {"options": options} if verb == "options" else options
        status, answer = await spy.daemon.call("POST", f"/addons/self/{verb}", body, token=token)
        answers.add((status, str(answer)))

    (told,) = answers
    assert "refers to a secret" in told[1]
    assert "sesame" not in told[1]
    assert spy.ask("/addons/self/options/config")[1] == {"name": "x", "deep": []}


async def test_what_its_user_gave_stays_and_nothing_is_won_by_it(spy: Addon) -> None:
    await spy.daemon.ok("POST", f"/addons/{spy.slug}/options", {"options": {"deep": [{"word": "!secret short"}]}})

    kept = says(spy, "/addons/self/options", {"options": {"name": "y", "deep": [{"word": "!secret short"}]}})[0]
    others = [
        says(spy, "/addons/self/options", {"options": {"deep": value}})[0]
        for value in (
            [{"word": "!secret front_door"}],
            [{}, {"word": "!secret short"}],
            [{"word": "!secret short"}, {"word": "!secret short"}],
            [{"word": "!secret  short"}],
        )
    ]
    status, options = spy.ask("/addons/self/options/config")
    await spy.restart()
    file = spy.run_beside("cat /data/options.json")

    assert (kept, others) == (200, [400] * 4)
    assert (status, options) == (200, {"name": "y", "deep": [{"word": "a"}]})
    assert "sesame" not in file
