"""Backups: made, taken in, put back, removed; the house kept still and let go."""

from __future__ import annotations

import asyncio
import json

from tests.contract.situations.scene import Call, Scene, situation
from tests.plugins.backups_vault.vault_house import KEY

FORM = "rooftree-form"


async def _made(scene: Scene, **wishes: object) -> str:
    """A backup of a shared folder with a film in it; its slug."""
    await _filmed(scene)
    answer = await scene.home.client.post("/backups/new/partial", json={"folders": ["share"], **wishes})
    slug: str = answer.data["slug"]
    return slug


async def _filmed(scene: Scene) -> None:
    def film() -> None:
        (scene.home.data / "share").mkdir(exist_ok=True)
        (scene.home.data / "share" / "film").write_bytes(b"x" * 1000)

    await asyncio.to_thread(film)


@situation("POST /backups/new/full", "POST /backups/new/partial")
async def nothing_there(scene: Scene) -> Call:
    return Call(f"/backups/new/{scene.route.rpartition('/')[2]}", {"name": "empty"})


@situation("POST /backups/new/full")
async def house_with_an_addon(scene: Scene) -> Call:
    await _filmed(scene)
    await scene.home.install()
    return Call("/backups/new/full", {"password": "hunter2"})


@situation("POST /backups/new/partial")
async def folder_with_a_password(scene: Scene) -> Call:
    await _filmed(scene)
    return Call("/backups/new/partial", {"folders": ["share", "ssl"], "password": "hunter2", "name": "sealed"})


@situation("POST /backups/new/upload")
async def archive_from_elsewhere(scene: Scene) -> Call:
    slug = await _made(scene)
    content = (await scene.home.client.get(f"/backups/{slug}/download")).body
    await scene.home.client.delete(f"/backups/{slug}")
    head = f'--{FORM}\r\nContent-Disposition: form-data; name="file"; filename="x.tar"\r\n\r\n'
    form = head.encode() + content + f"\r\n--{FORM}--\r\n".encode()
    return Call("/backups/new/upload", form, {"Content-Type": f"multipart/form-data; boundary={FORM}"})


@situation("POST /backups/{backup}/restore/full")
async def whole_house(scene: Scene) -> Call:
    await _filmed(scene)
    slug = (await scene.home.client.post("/backups/new/full", json={})).data["slug"]
    return Call(f"/backups/{slug}/restore/full")


@situation("POST /backups/{backup}/restore/partial")
async def one_folder(scene: Scene) -> Call:
    return Call(f"/backups/{await _made(scene)}/restore/partial", {"folders": ["share"]})


@situation("POST /backups/{backup}/restore/partial")
async def one_addon(scene: Scene) -> Call:
    addon = await scene.home.install()
    slug = (await scene.home.client.post("/backups/new/partial", json={"addons": [addon]})).data["slug"]
    return Call(f"/backups/{slug}/restore/partial", {"addons": [addon]})


@situation("DELETE /backups/{backup}")
async def one_that_is_there(scene: Scene) -> Call:
    return Call(f"/backups/{await _made(scene)}")


@situation("POST /kernel/v1/backups/{backup}/verify")
async def one_that_is_whole(scene: Scene) -> Call:
    return Call(f"/kernel/v1/backups/{await _made(scene)}/verify", {})


@situation("POST /kernel/v1/backups/{backup}/verify")
async def one_with_a_password(scene: Scene) -> Call:
    slug = await _made(scene, password="hunter2")
    return Call(f"/kernel/v1/backups/{slug}/verify", {"password": "hunter2"})


@situation("POST /backups/freeze")
async def house_at_work(scene: Scene) -> Call:
    return Call("/backups/freeze", {"timeout": 30})


@situation("POST /backups/thaw")
async def house_kept_still(scene: Scene) -> Call:
    await scene.home.client.post("/backups/freeze", json={"timeout": 30})
    return Call("/backups/thaw")


# --- vaults -----------------------------------------------------------------------------------------------------------

VAULT = "/kernel/v1/vaults/cellar"


async def _in_a_vault(scene: Scene) -> str:
    await scene.put_vault("vaults/cellar")  # for a new one, restic would work out how dear to make its key
    vault = {"name": "cellar", "place": "local", "existing": True, "key": KEY}
    answer = await scene.home.client.post("/kernel/v1/vaults", json=vault)
    assert answer.status == 200, json.dumps(answer.envelope)
    return await _made(scene, location="cellar")


@situation("POST /kernel/v1/vaults/{vault}/prove")
async def backup_in_a_vault(scene: Scene) -> Call:
    await _in_a_vault(scene)
    return Call(f"{VAULT}/prove")


@situation("POST /kernel/v1/vaults/{vault}/prune")
async def vault_with_a_backup(scene: Scene) -> Call:
    await _in_a_vault(scene)
    return Call(f"{VAULT}/prune")


@situation("POST /kernel/v1/vaults/{vault}/import")
async def archive_beside_a_vault(scene: Scene) -> Call:
    await _in_a_vault(scene)
    return Call(f"{VAULT}/import", {"slug": await _made(scene)})


@situation("POST /kernel/v1/vaults/{vault}/backups/{slug}/parts/{kind}/{part}/put-back")
async def file_in_a_vault(scene: Scene) -> Call:
    slug = await _in_a_vault(scene)
    return Call(f"{VAULT}/backups/{slug}/parts/folder/share/put-back", {"path": "film"})
