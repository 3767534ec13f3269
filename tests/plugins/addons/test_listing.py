"""The list of installed add-ons is encoded once for as long as nothing in it changes, and never shows what was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rooftree import Principal, Role
from rooftree.testing import Answer, token_for
from tests.plugins.addons.house import HELLO, House, done


async def ended(home: House) -> None:
    """The add-on ends with an error."""
    await home.post(HELLO, "start")
    home.engine.crash(f"app_{HELLO}")
    await home.quiet()


async def updated(home: House) -> None:
    """The add-on goes to a newer version."""
    await home.offer("hello", "2.0")
    done(await home.post(HELLO, "update"))


async def managed(home: House) -> None:
    """Core marks the add-on as its own."""
    token = await token_for(home.system, Principal("core", "homeassistant", Role.ADMIN))
    done(await home.post(HELLO, "sys_options", {"system_managed": True}, token=token))


CHANGES: dict[str, Callable[[House], Awaitable[Any]]] = {
    "started": lambda home: home.post(HELLO, "start"),
    "stopped": lambda home: home.post(HELLO, "stop"),
    "ended by itself": ended,
    "installed": lambda home: home.install("other"),
    "uninstalled": lambda home: home.post(HELLO, "uninstall"),
    "newer version offered": lambda home: home.offer("hello", "2.0"),
    "updated": updated,
    "managed by Core": managed,
}


async def listed(home: House, known: Answer | None = None) -> Answer:
    """The listing, asked for by somebody who knows that one."""
    headers = {} if known is None else {"If-None-Match": known.headers["ETag"]}
    return await home.client.get("/addons", headers=headers)


async def test_listing_that_the_client_knows_is_not_sent_again(home: House) -> None:
    await home.run()

    first = await listed(home)
    again = await listed(home, first)

    assert (first.status, again.status, again.body) == (200, 304, b"")


@pytest.mark.parametrize("change", CHANGES)
async def test_listing_is_sent_anew_when_something_in_it_changed(home: House, change: str) -> None:
    await home.run()
    if change == "started":
        done(await home.post(HELLO, "stop"))
    before = await listed(home)

    await CHANGES[change](home)

    after = await listed(home, before)
    assert after.status == 200
    assert after.data != before.data
