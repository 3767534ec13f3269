"""``/kernel/v1/audit``."""

from __future__ import annotations

from typing import Any

import pytest

from rooftree import Principal, Role
from rooftree.process.system import System
from rooftree.state.audit_log import PAGE
from rooftree.testing import Client, token_for

AUDIT = "/kernel/v1/audit"


async def rows(client: Client, query: str = "") -> list[dict[str, Any]]:
    """One page of entries."""
    return list((await client.get(f"{AUDIT}{query}")).data["entries"])


async def test_entry_tells_who_did_what_when_and_how_it_went(system: System, client: Client) -> None:
    token = await token_for(system, Principal("addon", "local_keeper", Role.MANAGER))

    await client.post("/supervisor/options", json={"wait_boot": 7}, token=token)

    (entry,) = await rows(client)
    assert entry.pop("time").endswith("+00:00")
    assert isinstance(entry.pop("sequence"), int)
    assert entry == {
        "who": "addon:local_keeper",
        "what": "state",
        "subject": "supervisor.options/options",
        "outcome": "done",
        "job": None,
    }


async def test_what_changed_nothing_is_not_told(client: Client) -> None:
    await client.post("/supervisor/options", json={"wait_boot": 7})
    await client.post("/supervisor/options", json={"wait_boot": 7})
    assert (await client.post("/supervisor/options", json={"wait_boot": 0})).status == 400
    await client.get("/info")

    assert len(await rows(client)) == 1


async def test_pages_lead_from_the_newest_to_the_oldest(client: Client) -> None:
    for number in range(1, 8):
        await client.post("/supervisor/options", json={"wait_boot": number + 10})

    seen = list[int]()
    query = "?limit=3"
    while query:
        page = (await client.get(f"{AUDIT}{query}")).data
        seen += [entry["sequence"] for entry in page["entries"]]
        query = f"?limit=3&before={page['next']}" if page["next"] is not None else ""

    assert len(seen) == 7
    assert seen == sorted(seen, reverse=True)


async def test_entries_are_asked_for_by_who(system: System, client: Client) -> None:
    token = await token_for(system, Principal("addon", "local_keeper", Role.MANAGER))
    await client.post("/supervisor/options", json={"wait_boot": 7}, token=token)
    await client.post("/supervisor/options", json={"wait_boot": 8})

    assert [entry["who"] for entry in await rows(client, "?who=addon:local_keeper")] == ["addon:local_keeper"]
    assert await rows(client, "?who=addon:nobody") == []
    assert await rows(client, f"?job={'0' * 32}") == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?limit=0", f"limit: must be from 1 to {PAGE}, not 0"),
        (f"?limit={PAGE + 1}", f"limit: must be from 1 to {PAGE}, not {PAGE + 1}"),
        ("?limit=many", "limit: must be a whole number, not 'many'"),
        ("?before=yesterday", "before: must be a whole number, not 'yesterday'"),
    ],
)
async def test_page_that_makes_no_sense_is_refused(client: Client, query: str, sentence: str) -> None:
    answer = await client.get(f"{AUDIT}{query}")

    assert (answer.status, answer.message) == (400, sentence)
