"""Headers that are no text: whoever sends them is told what is wrong, and no handler fails on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree import Principal, Role
from rooftree.testing import running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.kernel.raw_http import send

OPENS = [("Connection", "upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]


@pytest.mark.parametrize("key", ["é", "\u20ac" * 8, "!!", "AAAA", "A" * 4000, ""])
async def test_websocket_with_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    async with running_system(tmp_path, plugins=[SupervisorPlugin]) as system:
        token = await token_for(system, Principal("addon", "local_hello", Role.MANAGER))
        bearer = ("Authorization", f"Bearer {token}")
        answer = await send(system, b"/kernel/v1/events", headers=[*OPENS, bearer, ("Sec-WebSocket-Key", key)])

    assert answer.status == 400
    assert b"send the headers that open one" in answer.body
