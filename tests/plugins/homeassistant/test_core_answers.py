"""What Core tells of itself is taken as foreign: whatever it is, it is understood or left out."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from rooftree_homeassistant.core_client import _user
from rooftree_homeassistant.core_socket import CoreSocket
from rooftree_homeassistant.core_state import CoreHttpConfig, CoreState

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def objects(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects in which these keys may be there, with anything."""
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=8), JSON, max_size=6)


RECORDER = objects("migration_in_progress", "migration_is_live")


@given(content=objects("state"), recorder=RECORDER)
def test_state_is_read_from_whatever_there_is(content: dict[str, Any], recorder: dict[str, Any]) -> None:
    state = CoreState.of(content | {"recorder_state": recorder})

    assert isinstance(state.state, str)
    assert not state.migrating_offline or recorder["migration_in_progress"] is True


@given(content=objects("port", "ssl", "ssl_peer_certificate", "server_host"))
def test_settings_of_the_web_server_are_read_or_unknown(content: dict[str, Any]) -> None:
    config = CoreHttpConfig.of(content)

    assert config is None or (0 < config.port < 65536 and all(isinstance(host, str) for host in config.server_hosts))


@given(row=objects("id", "username", "name", "is_owner", "is_active", "local_only", "group_ids"))
def test_user_is_read_from_whatever_there_is(row: dict[str, Any]) -> None:
    user = _user(row)

    assert isinstance(user.id, str)
    assert user.is_active is (row.get("is_active") is True)
    assert all(isinstance(group, str) for group in user.group_ids)


@given(messages=st.lists(JSON | objects("id", "type", "event", "success", "result", "error"), max_size=5) | JSON,
       text=st.text(max_size=30))  # fmt: skip
def test_message_of_whatever_kind_disturbs_no_other(messages: Any, text: str) -> None:
    async def receive() -> Any:
        socket = CoreSocket(None)  # type: ignore[arg-type]
        answer = asyncio.get_running_loop().create_future()
        socket._answers[7] = answer
        socket._listeners[8] = lambda data: None
        socket._take(text)
        socket._take(orjson.dumps(messages).decode())
        socket._take('{"id": 7, "type": "result", "success": true, "result": "ours"}')
        return await answer if answer.exception() is None else "refused"

    assert asyncio.run(receive()) in {"ours", "refused"}
