"""Somebody who uses Home Assistant: through Core's HTTP API and its WebSocket, as its own frontend does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import aiohttp

from tests.rig.waiting import until

SOON_S = 30.0
ANSWER = aiohttp.ClientTimeout(120)
OWNER, PASSWORD = "anna", "correct horse battery"


class CoreUser:
    """The owner, once :meth:`onboard` was called.

    :param url: where Core listens
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.client_id = f"{url}/"
        self.session = session
        self.tokens: Mapping[str, Any] = {}
        """What the frontend keeps: ``access_token``, ``refresh_token``, ``token_type``, ``expires_in``."""

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Self]:
        """Nobody yet, for the length of the block."""
        async with aiohttp.ClientSession(timeout=ANSWER) as session:
            yield cls(url, session)

    async def onboard(self) -> None:
        """Become the owner, and go through the other steps of the welcome."""
        body = {"client_id": self.client_id, "name": OWNER.title(), "username": OWNER, "password": PASSWORD,
                "language": "en"}  # fmt: skip
        async with self.session.post(f"{self.url}/api/onboarding/users", json=body) as response:
            assert response.status == 200, await response.text()
            code = (await response.json())["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": self.client_id}
        async with self.session.post(f"{self.url}/auth/token", data=form) as response:
            assert response.status == 200, await response.text()
            self.tokens = await response.json()
        for step in ("core_config", "analytics"):
            await self.post(f"/api/onboarding/{step}", {})
        redirect = {"client_id": self.client_id, "redirect_uri": f"{self.url}/?auth_callback=1"}
        await self.post("/api/onboarding/integration", redirect)

    async def get(self, path: str) -> Any:
        """What a path of Core's API answers."""
        async with self.session.get(self.url + path, headers=self.authorization) as response:
            assert response.status == 200, f"{path} answered {response.status}: {await response.text()}"
            return await response.json()

    async def post(self, path: str, content: object) -> Any:
        """Post JSON to Core's API."""
        async with self.session.post(self.url + path, json=content, headers=self.authorization) as response:
            assert response.status < 300, f"{path} answered {response.status}: {await response.text()}"
            return await response.json(content_type=None)

    async def call_service(self, service: str, **content: object) -> None:
        """Call one of Core's services, such as ``update.install``. It may take Core itself away."""
        domain, _, name = service.partition(".")
        with contextlib.suppress(aiohttp.ClientConnectionError):
            await self.post(f"/api/services/{domain}/{name}", content)

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[CoreSocket]:
        """Core's WebSocket, authenticated."""
        async with self.session.ws_connect(f"{self.url}/api/websocket", max_msg_size=2**26) as websocket:
            await websocket.receive_json()
            await websocket.send_json({"type": "auth", "access_token": self.tokens["access_token"]})
            assert (await websocket.receive_json())["type"] == "auth_ok"
            yield CoreSocket(websocket)

    async def ask(self, kind: str, **fields: object) -> Any:
        """The result of one command of the WebSocket."""
        async with self.socket() as socket:
            return await socket.ask(kind, **fields)

    async def supervisor(self, endpoint: str, method: str = "get", **data: object) -> Any:
        """Call us as the frontend does: through Core's WebSocket."""
        more = {"data": data} if data else {}
        return await self.ask("supervisor/api", endpoint=endpoint, method=method, timeout=None, **more)

    async def integration_is_loaded(self) -> None:
        """Wait until the entry of Core's integration with us is loaded."""

        async def is_loaded() -> bool:
            return (await self._entry())["state"] == "loaded"

        await until(is_loaded, within_s=120, what="the integration's entry, loaded")

    async def look_anew(self) -> None:
        """Core looks every quarter of an hour which add-ons there are; loading the integration again makes it look
        now."""
        await self.post(f"/api/config/config_entries/entry/{(await self._entry())['entry_id']}/reload", {})

    async def _entry(self) -> Any:
        entries = await self.get("/api/config/config_entries/entry")
        return next((entry for entry in entries if entry["domain"] == "hassio"), {"state": "not there"})

    async def state(self, entity: str) -> Any:
        """An entity's state and attributes; ``None`` where there is none."""
        async with self.session.get(f"{self.url}/api/states/{entity}", headers=self.authorization) as response:
            return None if response.status == 404 else await response.json()

    async def sees(self, entity: str, state: str, within_s: float = SOON_S) -> Any:
        """The entity, once it is in that state."""

        async def is_so() -> Any:
            shown = await self.state(entity)
            return shown if shown and shown["state"] == state else None

        return await until(is_so, within_s=within_s, what=f"{entity} = {state}")

    async def is_there(self, within_s: float = 120.0) -> Mapping[str, Any]:
        """Core's configuration, once it runs."""

        async def runs() -> Any:
            with contextlib.suppress(aiohttp.ClientError, AssertionError, TimeoutError):
                async with asyncio.timeout(5):
                    config = await self.get("/api/config")
                    return config if config["state"] == "RUNNING" else None

        shown: Mapping[str, Any] = await until(runs, within_s=within_s, what="a running Core")
        return shown

    @property
    def authorization(self) -> dict[str, str]:
        """The headers of its requests."""
        return {"Authorization": f"Bearer {self.tokens['access_token']}"} if self.tokens else {}


class CoreSocket:
    """One connection to Core's WebSocket."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self._numbers = itertools.count(1)

    async def ask(self, kind: str, **fields: object) -> Any:
        """The result of a command; one that fails fails the test with what Core said."""
        answer = await self.answer(kind, **fields)
        assert answer["success"], f"{kind} {fields}: {answer['error']}"
        return answer["result"]

    async def answer(self, kind: str, **fields: object) -> Any:
        """The whole answer to a command, a good one or not."""
        number = next(self._numbers)
        await self.websocket.send_json({"id": number, "type": kind, **fields})
        async for answer in self._messages():
            if answer["id"] == number and answer["type"] == "result":
                return answer
        raise ConnectionError(f"Core hung up on {kind}")

    @contextlib.asynccontextmanager
    async def events(self, kind: str) -> AsyncIterator[list[Any]]:
        """What a subscription brings while the block goes on; a list that grows."""
        events: list[Any] = []

        async def listen() -> None:
            async for message in self._messages():
                events.extend([message["event"]] if message["type"] == "event" else [])

        await self.ask(kind)
        listening = asyncio.create_task(listen())
        try:
            yield events
        finally:
            listening.cancel()

    async def _messages(self) -> AsyncIterator[Any]:
        async for message in self.websocket:
            content = json.loads(message.data)
            for part in content if isinstance(content, list) else [content]:
                yield part
