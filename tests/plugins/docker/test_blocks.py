"""Bodies in blocks: what comes close together is one block, and nothing is lost or waited for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import aiohttp
import pytest

from rooftree_docker.engine_client import BLOCK_BYTES, blocks


def body() -> tuple[aiohttp.StreamReader, aiohttp.ClientResponse]:
    """A body that the test feeds, and the response it belongs to."""
    protocol = cast("Any", Mock(_reading_paused=False))
    reader = aiohttp.StreamReader(protocol, limit=10 * BLOCK_BYTES, loop=asyncio.get_running_loop())
    return reader, cast("aiohttp.ClientResponse", SimpleNamespace(content=reader))


async def test_line_that_comes_alone_is_handed_on_without_waiting_for_another() -> None:
    reader, response = body()
    found = blocks(response)

    reader.feed_data(b"one\n")
    one = await asyncio.wait_for(anext(found), 5)
    reader.feed_data(b"two\n")
    two = await asyncio.wait_for(anext(found), 5)

    assert (one, two) == (b"one\n", b"two\n")


async def test_what_comes_in_the_same_moment_is_one_block_that_does_not_grow_for_ever() -> None:
    reader, response = body()
    piece = b"x" * 1000

    async def come() -> None:
        for _ in range(500):
            reader.feed_data(piece)
            await asyncio.sleep(0)
        reader.feed_eof()

    coming = asyncio.create_task(come())
    found = [block async for block in blocks(response)]
    await coming

    assert b"".join(found) == piece * 500
    assert 500_000 // BLOCK_BYTES <= len(found) < 20
    assert max(map(len, found)) < BLOCK_BYTES + 3 * len(piece)


async def test_what_came_before_a_body_broke_off_is_handed_on_first() -> None:
    reader, response = body()
    found = blocks(response)
    reader.feed_data(b"the last words")
    asyncio.get_running_loop().call_soon(reader.set_exception, aiohttp.ClientPayloadError("broke off"))

    assert await anext(found) == b"the last words"
    with pytest.raises(aiohttp.ClientPayloadError):
        await anext(found)


async def test_body_that_stalls_is_given_up() -> None:
    _, response = body()

    with pytest.raises(TimeoutError):
        await anext(blocks(response, 0.01))
