"""The add-on that carries backups to a cloud drive, as it calls us: with its own token and the role ``manager``, all
of its sequence, and each field that it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rooftree.testing import Answer, Failing, fixtures
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import AddonState
from rooftree_backups.plugin import BackupsPlugin
from rooftree_containers import Desired, container_steps
from rooftree_homeassistant.plugin import HomeAssistantPlugin
from rooftree_mounts.plugin import MountsPlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.plugins.addons.house import HELLO, House, house
from tests.plugins.backups.restored_house import CORE_VERSION, core_is_well, install_core
from tests.rig.waiting import until

allow = fixtures.allow
HEADERS = {"Content-Type": "multipart/form-data; boundary=b"}
CONFIG = {"hassio_api": True, "hassio_role": "manager", "homeassistant_api": True}


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_steps, "STEADY_S", 0.0)
    core_is_well(monkeypatch)


@pytest.fixture
async def home(tmp_path: Path, allow: Collection[Failing]) -> AsyncIterator[House]:
    plugins = [SupervisorPlugin, HomeAssistantPlugin, BackupsPlugin, MountsPlugin]
    settings = {"plugins.homeassistant.install": False}
    async with house(tmp_path, FakeContainerEngine(), settings, plugins, allow=allow) as here:
        yield here


class Drive:
    """The add-on."""

    def __init__(self, home: House, token: str) -> None:
        self.home = home
        self.token = token

    async def get(self, path: str) -> Any:
        answer = await self.home.client.get(path, token=self.token)
        assert (answer.status, answer.envelope["result"]) == (200, "ok"), f"{path}: {answer.text}"
        return answer.data

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.home.client.post(path, token=self.token, **options)

    async def until_done(self, job_id: str) -> dict[str, Any]:
        """What a job has become, asked for as long as it goes on."""

        async def ended() -> dict[str, Any] | None:
            job: dict[str, Any] = await self.get(f"/jobs/{job_id}")
            assert job.keys() >= {"name", "uuid", "progress", "stage", "done", "errors", "child_jobs"}
            return job if job["done"] else None

        return await until(ended, within_s=30, what="the end of the job")


@pytest.fixture
async def drive(home: House) -> Drive:
    """It runs, beside Core and another add-on."""
    await install_core(home, CORE_VERSION)
    await home.run("hello")
    slug = await home.run("drive", config=CONFIG)
    for folder in ("share", "ssl", "media"):
        (home.data / folder).mkdir(exist_ok=True)
        (home.data / folder / "value").write_text("old")
    return Drive(home, home.token(slug))


def pieces(content: bytes) -> Iterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.tar"\r\n'
    yield b"Content-Type: application/x-tar\r\n\r\n" + content + b"\r\n--b--\r\n"


async def uploaded(drive: Drive, content: bytes) -> Answer:
    return await drive.post("/backups/new/upload", body=b"".join(pieces(content)), headers=HEADERS)


async def test_everything_that_it_does_in_a_night(drive: Drive) -> None:
    # What it asks at its start.
    own = await drive.get("/addons/self/info")
    assert own.keys() >= {"slug", "version", "state", "ingress_url", "ingress_entry", "options", "boot"}
    assert (await drive.get("/supervisor/info")).keys() >= {"version", "timezone", "addons"}
    assert (await drive.get("/core/info"))["version"] == CORE_VERSION
    assert isinstance((await drive.get("/info"))["homeassistant"], str)
    mounts = await drive.get("/mounts")
    assert mounts.keys() >= {"mounts", "default_backup_mount"}
    assert await drive.get("/backups") == {"backups": []}

    # A full backup, which it waits for.
    made = await drive.post("/backups/new/full", json={"name": "Full Backup 1", "password": "mine", "compressed": True})
    slug = made.data["slug"]
    assert made.data["job_id"]
    (entry,) = (await drive.get("/backups"))["backups"]
    assert (entry["slug"], entry["name"], entry["type"], entry["protected"]) == (slug, "Full Backup 1", "full", True)
    assert datetime.fromisoformat(entry["date"]).tzinfo is not None
    assert entry["size"] > 0
    assert entry["compressed"] is True
    assert (entry["location"], entry["locations"]) == (None, [None])
    assert entry["content"]["homeassistant"] is True
    assert sorted(entry["content"]["addons"]) == ["local_drive", "local_hello"]
    assert sorted(entry["content"]["folders"]) == ["addons/local", "media", "share", "ssl"]

    details = await drive.get(f"/backups/{slug}/info")
    assert details["homeassistant"] == CORE_VERSION
    assert {(addon["slug"], addon["name"], addon["version"]) for addon in details["addons"]} == {
        ("local_hello", "Hello", "1.0"),
        ("local_drive", "Drive", "1.0"),
    }
    assert all(isinstance(addon["size"], float | int) for addon in details["addons"])
    assert (details["slug"], details["protected"], details["type"]) == (slug, True, "full")
    assert isinstance(details["repositories"], list)
    assert details["size_bytes"] == (drive.home.data / "backup" / f"{slug}.tar").stat().st_size

    # It goes to the drive, byte for byte, and away from here.
    sent = await drive.home.client.get(f"/backups/{slug}/download", token=drive.token)
    assert sent.headers["Content-Type"] == "application/tar"
    assert int(sent.headers["Content-Length"]) == details["size_bytes"] == len(sent.body)
    assert (await drive.home.client.delete(f"/backups/{slug}", token=drive.token)).data == {}
    assert await drive.get("/backups") == {"backups": []}

    # It comes back from the drive.
    back = await uploaded(drive, sent.body)
    assert back.data == {"slug": slug}, back.text
    assert (await drive.get(f"/backups/{slug}/info"))["size_bytes"] == len(sent.body)
    assert (await drive.post("/backups/reload")).data == {}

    # And is put back: the add-on itself is restarted by that, and asks again with its new token.
    (drive.home.data / "share" / "value").write_text("new")
    wrong = await drive.post(f"/backups/{slug}/restore/full", json={"password": "yours"})
    assert (wrong.status, wrong.envelope["result"]) == (400, "error")
    assert wrong.message.startswith("Invalid password for backup")
    begun = await drive.post(f"/backups/{slug}/restore/full", json={"password": "mine", "background": True})
    assert begun.data.keys() == {"job_id"}, begun.text

    async def restored() -> bool:
        job = await drive.home.system.jobs.get(begun.data["job_id"])
        return job.done is True

    await until(restored, within_s=60, what="the end of the restore")
    await drive.home.quiet()
    job = await drive.home.system.jobs.get(begun.data["job_id"])
    assert job.errors == []
    assert (drive.home.data / "share" / "value").read_text() == "old"
    assert drive.home.installed(HELLO).desired is Desired.STARTED
    drive.token = drive.home.token("local_drive")
    assert (await drive.get("/addons/self/info"))["state"] == AddonState.STARTED


async def test_partial_backup_is_begun_and_asked_after(drive: Drive) -> None:
    body = {
        "name": "Partial",
        "addons": ["local_hello"],
        "folders": ["share", "ssl"],
        "homeassistant": True,
        "background": True,
    }
    begun = await drive.post("/backups/new/partial", json=body)
    assert begun.data.keys() == {"job_id"}, begun.text

    job = await drive.until_done(begun.data["job_id"])

    assert (job["name"], job["errors"]) == ("backup_manager_partial_backup", [])
    details = await drive.get(f"/backups/{job['reference']}/info")
    assert details["type"] == "partial"
    assert details["protected"] is False
    assert [addon["slug"] for addon in details["addons"]] == ["local_hello"]
    assert sorted(details["folders"]) == ["share", "ssl"]


async def test_second_backup_while_one_is_made_is_refused_as_busy(drive: Drive) -> None:
    hold = drive.home.engine.hold("execute")
    await drive.home.run("slow", config={"backup_pre": "true"})
    begun = await drive.post("/backups/new/full", json={"background": True})
    await hold.reached.wait()

    busy = await drive.post("/backups/new/full", json={"name": "second"})
    hold.release()

    assert (busy.status, busy.envelope["result"]) == (400, "error")
    assert "under way" in busy.message
    await drive.until_done(begun.data["job_id"])


async def test_errors_have_the_form_that_it_reads(drive: Drive) -> None:
    client, token = drive.home.client, drive.token
    refused = [
        (404, await client.get("/backups/0badcafe/info", token=token)),
        (404, await client.delete("/backups/0badcafe", token=token)),
        (404, await drive.post("/backups/0badcafe/restore/full", json={})),
        (400, await drive.post("/backups/new/partial", json={"folders": ["nowhere"]})),
        (400, await drive.post("/backups/new/full", json={"nobody": "knows"})),
        (400, await uploaded(drive, b"no archive")),
    ]

    for status, answer in refused:
        assert answer.status == status, (answer.headers, answer.text)
        assert answer.envelope["result"] == "error"
        assert answer.message
    assert (await client.get("/backups/0badcafe/download", token=token)).status == 404
    assert (await client.get("/backups", token="nobodys")).status in {401, 403}


async def test_it_stops_and_starts_others_around_a_backup(drive: Drive) -> None:
    assert (await drive.post(f"/addons/{HELLO}/stop")).data == {}
    assert (await drive.get(f"/addons/{HELLO}/info"))["state"] == AddonState.STOPPED
    assert (await drive.post("/backups/new/full", json={"name": "still"})).status == 200
    assert (await drive.post(f"/addons/{HELLO}/start")).data == {}
    assert (await drive.get(f"/addons/{HELLO}/info"))["state"] == AddonState.STARTED
    assert (await drive.post("/core/restart")).data == {}
