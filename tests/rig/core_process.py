"""The stand-in for Home Assistant Core (:mod:`tests.rig.core_program`) from outside: a process, steered and heard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.rig.core_program import CHARACTER
from tests.rig.fork_server import ForkedProgram, fork
from tests.rig.service_process import free_port, listens
from tests.rig.waiting import until

START_S = 10.0
TOLD_S = 10.0

type Told = Mapping[str, Any]
"""One thing that it was told. ``kind``: ``request`` (each, with ``method``, ``path``, ``by`` = ``socket`` or ``tcp``,
``headers``), ``connected`` and ``disconnected`` (a WebSocket), ``command`` (``type``, ``message``), ``binary``,
``push`` (``what``, ``name``, ``method``, ``body``), ``login``, ``password_reset``, ``echo`` (any other path below
``/api/``, with ``sha256`` of the body), ``stream_ended``, ``fired``, ``called_back`` (what it asked of the supervisor,
with ``status`` and ``answer``)."""


class CoreSteering:
    """A running stand-in, in a process or in a container, as the tests see it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def told(self, kind: str | None = None, **facts: object) -> list[Told]:
        """What it was told since it runs, in order; of one kind, and with such facts, where that is said."""
        return [entry for entry in await self._told(0, 0.0) if _fits(entry, kind, facts)]

    async def is_told(
        self, kind: str, where: Callable[[Told], bool] = lambda told: True, *, within_s: float = TOLD_S, **facts: object
    ) -> Told:
        """The first thing of that kind that it was told, or is told soon. Raises :class:`TimeoutError` with everything
        that it was told when that does not come.

        :param where: which one is meant; also by ``facts`` that it must have
        """
        count = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    entries = await self._told(count, within_s)
                    for entry in entries:
                        if _fits(entry, kind, facts) and where(entry):
                            return entry
                    count += len(entries)
        raise TimeoutError(f"nobody told it {kind} {facts} within {within_s} s, but {await self.told()}")

    async def events(self, event: str | None = None) -> list[Any]:
        """The ``data`` of each ``supervisor/event`` that it was sent, in order."""
        sent = [told["message"]["data"] for told in await self.told("command", type="supervisor/event")]
        return [data for data in sent if event in {None, data["event"]}]

    async def is_sent(self, event: str, *, within_s: float = TOLD_S, **facts: object) -> Any:
        """The ``data`` of the first ``supervisor/event`` of that name with such facts in it, now or soon."""

        def meant(told: Told) -> bool:
            data = told["message"].get("data", {})
            return bool(data.get("event") == event and facts.items() <= data.items())

        told = await self.is_told("command", meant, type="supervisor/event", within_s=within_s)
        return told["message"]["data"]

    async def become(self, **traits: object) -> None:
        """Change how it behaves from now on: the fields of :class:`tests.rig.core_program.Character`."""
        await self._post("character", traits)

    async def fire(self, event_type: str, **data: object) -> None:
        """Have an event happen in it, for who subscribed to such."""
        await self._post("fire", {"event_type": event_type, "data": data})

    async def end(self, status: int = 0) -> None:
        """Have it end with that status."""
        await self._post("end", {"status": status})

    async def _told(self, after: int, within_s: float) -> list[Told]:
        url = f"{self.url}/stand-in/told?after={after}&within_s={within_s}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            entries: list[Told] = await response.json()
            return entries

    async def _post(self, what: str, content: object) -> None:
        url = f"{self.url}/stand-in/{what}"
        async with aiohttp.ClientSession() as session, session.post(url, json=content) as response:
            assert response.status == 200, await response.text()


def _fits(entry: Told, kind: str | None, facts: Mapping[str, object]) -> bool:
    return kind in {None, entry["kind"]} and facts.items() <= entry.items()


class CoreProcess(CoreSteering):
    """The stand-in as a process. ``folder`` is its ``/config``, and has its log.

    :param socket: where it listens beside TCP
    :param supervisor: host and port that it calls back, with ``token``
    """

    def __init__(
        self, folder: Path, socket: Path, *, supervisor: str | None = None, token: str = "", **traits: object
    ) -> None:
        super().__init__(free_port())
        self.folder = folder
        self.socket = socket
        self.refresh_token = secrets.token_hex(64)
        """What it takes for an access token, over TCP."""
        self.traits = traits
        self._called_back = {} if supervisor is None else {"SUPERVISOR": supervisor, "SUPERVISOR_TOKEN": token}
        self._log = folder / "log"
        self._process: ForkedProgram | None = None

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    def log(self) -> str:
        """Everything that it printed."""
        return self._log.read_text(encoding="utf-8")

    async def start(self, **traits: object) -> None:
        """Start it (again), perhaps with other traits, such as ``version``; returns when it can be steered."""
        self.traits |= traits
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = os.environ | self._called_back | {
            CHARACTER: json.dumps({"port": self.port, **self.traits}),
            "CORE_REFRESH_TOKEN": self.refresh_token,
            "SUPERVISOR_CORE_API_SOCKET": str(self.socket),
        }  # fmt: skip
        with self._log.open("ab") as output:
            self._process = fork(
                "tests.rig.core_program", "--config", str(self.folder), environment=environment, output=output.fileno()
            )
        await until(self._listens, within_s=START_S, what="the stand-in for Core")

    async def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            await self.ended()

    async def ended(self) -> int:
        """Wait for its end; the exit status."""
        assert self._process is not None, "it was never started"
        return await asyncio.to_thread(self._process.wait, START_S)

    async def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the stand-in for Core ended instead of starting:\n{self.log()}")
        return await asyncio.to_thread(listens, self.port)


@contextlib.asynccontextmanager
async def core_process(
    folder: Path, *, supervisor: str | None = None, token: str = "", **traits: object
) -> AsyncIterator[CoreProcess]:
    """A stand-in for Core that runs, for the length of the block. Its socket is ``core.sock`` in ``folder``.

    :param traits: of :class:`tests.rig.core_program.Character`: ``version="2026.3.1"``, ``migration="offline"``
    """
    core = CoreProcess(folder, folder / "core.sock", supervisor=supervisor, token=token, **traits)
    await core.start()
    try:
        yield core
    finally:
        await core.kill()
