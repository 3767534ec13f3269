"""One daemon for the tests of repositories, run by an operator with a dangerous git configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.git.repositories import MAX_REPOSITORY_MIB, clones
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: Engine, hostile_home: Path) -> AsyncIterator[Daemon]:
    """One daemon for all tests, run by an operator with a dangerous git configuration."""
    async with disposable_daemon(engine) as daemon:
        daemon.environment = {
            "HOME": str(hostile_home),
            "GIT_DIR": str(hostile_home),
            "GIT_EDITOR": "false",
            "ROOFTREE_PLUGINS__STORE__MAX_REPOSITORY_MIB": str(MAX_REPOSITORY_MIB),
            "ROOFTREE_PLUGINS__STORE__ANSWER_TIMEOUT_S": "6",
        }
        await daemon.start()
        yield daemon


@pytest.fixture
async def daemon(shared: Daemon) -> AsyncIterator[Daemon]:
    """The daemon, without any repository but ``local``, before and after."""
    if not shared.running:
        await shared.start()
    yield shared
    if not shared.running:
        await shared.start()
    await shared.recovered()
    for addon in (await shared.ok("GET", "/addons"))["addons"]:
        await shared.ok("POST", f"/addons/{addon['slug']}/uninstall", {})
    for repository in await shared.ok("GET", "/store/repositories"):
        if repository["slug"] != "local":
            await shared.ok("DELETE", f"/store/repositories/{repository['slug']}")
    assert clones(shared) == []


@pytest.fixture(scope="module")
def hostile_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder whose git configuration leaves a mark when anything in it is run."""
    home = tmp_path_factory.mktemp("home")
    mark = home / "mark"
    hook = home / "hooks" / "post-checkout"
    hook.parent.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hook.parent / name).write_text(f"#!/bin/sh\necho hook >> {mark}\n")
        (hook.parent / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {hook.parent}\n\tfsmonitor = "echo fsmonitor >> {mark}"\n'
        f'[filter "evil"]\n\tsmudge = "echo smudge >> {mark}; cat"\n\tclean = "echo clean >> {mark}; cat"\n'
        f'[submodule]\n\trecurse = true\n[credential]\n\thelper = "!echo credential >> {mark}"\n'
    )
    yield home
    assert not mark.exists(), mark.read_text()
