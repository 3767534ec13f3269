"""What somebody does on Core's backup page, as the page does it: by commands of Core's WebSocket, and two addresses."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from attrs import frozen

from tests.real_core.rig.core_user import CoreUser
from tests.rig.waiting import until

LOCAL = "hassio.local"
"""What Core calls our own folder of backups."""
BACKUP_S = 120.0


@frozen
class BackupPage:
    """Core's backups, for its owner."""

    owner: CoreUser

    async def agents(self) -> set[str]:
        """Where backups can go."""
        return {agent["agent_id"] for agent in (await self.owner.ask("backup/agents/info"))["agents"]}

    async def info(self) -> Any:
        """All that the page begins with."""
        info = await self.owner.ask("backup/info")
        assert (info["agent_errors"], info["agent_error_translations"]) == ({}, {})
        return info

    async def listed(self) -> Mapping[str, Any]:
        """The backups, by their id."""
        return {backup["backup_id"]: backup for backup in (await self.info())["backups"]}

    async def details(self, backup_id: str) -> Any:
        """One of them."""
        answer = await self.owner.ask("backup/details", backup_id=backup_id)
        assert answer["agent_errors"] == {}
        return answer["backup"]

    async def make(self, name: str, *agents: str, **wishes: object) -> Any:
        """Make a backup; it, once Core lists it and is idle again."""
        before = await self.listed()
        await self.owner.ask("backup/generate", name=name, agent_ids=list(agents or (LOCAL,)), **wishes)
        return await self.comes_beside(before)

    async def comes_beside(self, before: Mapping[str, Any], within_s: float = BACKUP_S) -> Any:
        """The backup that was not there before, once Core is idle again."""
        await self.is_idle("create_backup", within_s)
        (backup_id,) = (await self.listed()).keys() - before.keys()
        return await self.details(backup_id)

    async def is_idle(self, after: str, within_s: float = BACKUP_S) -> None:
        """Wait until Core is through with something, which went well."""

        async def is_so() -> Any:
            with contextlib.suppress(aiohttp.ClientError, ConnectionError, AssertionError):  # Core may restart
                info = await self.info()
                last = info["last_action_event"]
                return last if info["state"] == "idle" and last and last["manager_state"] == after else None

        last = await until(is_so, within_s=within_s, what=f"an end of {after}")
        assert (last["state"], last["reason"]) == ("completed", None)

    async def delete(self, backup_id: str) -> None:
        """Delete it everywhere."""
        assert (await self.owner.ask("backup/delete", backup_id=backup_id))["agent_errors"] == {}

    async def download(self, backup_id: str, agent: str = LOCAL, **query: str) -> bytes:
        """Its file; decrypted by Core where ``password`` is given."""
        url = f"{self.owner.url}/api/backup/download/{backup_id}"
        async with self.owner.session.get(
            url, params={"agent_id": agent, **query}, headers=self.owner.authorization
        ) as response:
            assert (response.status, response.content_type) == (200, "application/x-tar"), await response.text()
            return await response.read()

    async def upload(self, content: bytes, agent: str = LOCAL) -> str:
        """Give Core a file; the backup's id."""
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(content), filename="brought.tar", content_type="application/x-tar")
        url = f"{self.owner.url}/api/backup/upload"
        async with self.owner.session.post(
            url, params={"agent_id": agent}, data=form, headers=self.owner.authorization
        ) as response:
            assert response.status == 201, await response.text()
            return str((await response.json())["backup_id"])

    async def refusal(self, kind: str, **fields: object) -> str:
        """The code by which Core refuses a command."""
        async with self.owner.socket() as socket:
            answer = await socket.answer(kind, **fields)
            assert not answer["success"], answer
            return str(answer["error"]["code"])

    @contextlib.asynccontextmanager
    async def events(self) -> AsyncIterator[list[Any]]:
        """What Core tells its page while the block goes on, and until it is idle again."""
        async with self.owner.socket() as socket, socket.events("backup/subscribe_events") as events:
            events.clear()
            yield events

            async def is_idle() -> bool:
                states = [event["manager_state"] for event in events]
                return set(states) > {"idle"} and states[-1] == "idle"

            await until(is_idle, within_s=BACKUP_S, what="the last event")
