"""Add-ons that use system calls which they do not need, and processes without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.attacks.local_addons import hostile, says
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: sandbox")]

FILTERED = "2"
"""A process under a seccomp filter, in ``/proc/<pid>/status`` (seccomp(2))."""
NEW_WORLD = "unshare -U true 2>/dev/null && echo made || echo refused"
"""A user namespace: the way to most of the kernel's faults, which needs no capability."""
BOMB = "i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done; wait"
PING = "ping -c 1 -W 2 127.0.0.1 >/dev/null && echo answered"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon that all tests share."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        yield daemon


async def test_add_on_that_declares_nothing_is_kept_from_the_kernel(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    addon = await hostile(daemon, engine, base_image, "plain")
    await addon.start()
    status = addon.run_inside("grep ^Seccomp: /proc/1/status").split()[1]
    confined = addon.run_inside(NEW_WORLD)
    refused = says(addon, "/addons/self/security", {"seccomp": "unconfined"})[0]

    await daemon.ok("POST", f"/addons/{addon.slug}/security", {"seccomp": "unconfined"})
    await addon.restart()
    lifted = addon.run_inside("grep ^Seccomp: /proc/1/status").split()[1]
    info = await addon.info()
    await addon.uninstall()

    assert (status, confined, refused) == (FILTERED, "refused", 403)
    assert lifted == "0"
    assert info["relaxations"] == ["its system calls are not confined"]


async def test_declaration_lifts_the_profile_and_an_ordinary_program_works_under_it(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    plain = await hostile(daemon, engine, base_image, "ordinary", privileged=["NET_RAW"])  # this ping's only way
    mighty = await hostile(daemon, engine, base_image, "mighty", privileged=["SYS_ADMIN"])
    for addon in (plain, mighty):
        await addon.start()

    seen = [addon.run_inside("grep ^Seccomp: /proc/1/status").split()[1] for addon in (plain, mighty)]
    works = plain.run_inside(f"{PING}; touch /data/x && chown 1:1 /data/x && echo owned")
    for addon in (plain, mighty):
        await addon.uninstall()

    assert seen == [FILTERED, "0"]
    assert works.splitlines() == ["answered", "owned"]


async def test_processes_have_an_end(daemon: Daemon, engine: Engine, base_image: str) -> None:
    addon = await hostile(daemon, engine, base_image, "bomb")
    await daemon.ok("POST", f"/addons/{addon.slug}/security", {"pids_limit": 64})
    await addon.start()
    limit = engine.run("inspect", "--format", "{{.HostConfig.PidsLimit}}", addon.container)

    engine.run(
        "exec",
        "--detach",
        addon.container,
        "sh",
        "-c",
        "i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done; wait",
    )
    await asyncio.sleep(2)
    processes = len(engine.run("top", addon.container, "-eo", "pid").splitlines()) - 1
    status, _ = await daemon.call("GET", "/supervisor/info")
    await addon.stop()
    await addon.uninstall()

    assert limit == "64"
    assert 10 < processes <= 64
    assert status == 200


async def test_usual_limit_is_told_to_the_engine(daemon: Daemon, engine: Engine, base_image: str) -> None:
    addon = await hostile(daemon, engine, base_image, "usual")
    await addon.start()

    limit = engine.run("inspect", "--format", "{{.HostConfig.PidsLimit}}", addon.container)
    await addon.uninstall()

    assert limit == "4096"
