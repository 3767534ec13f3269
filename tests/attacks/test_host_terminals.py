"""Add-ons that look for the terminals and the console of the host, to read what is typed there and to answer it."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.local_addons import hostile
from tests.rig.daemon import Daemon
from tests.rig.engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: host terminals")]

NULL = "1:3"
CONSOLE = "if mknod /tmp/console c 5 1 2>/dev/null; then echo made; else echo refused; fi"
DISK = "if mknod /share/disk b 254 0 2>/dev/null; then echo made; else echo refused; fi"
OWN = ": <> /dev/ptmx && echo opened"


@pytest.fixture
def terminal() -> Iterator[Path]:
    """A terminal of the host, as a login of root's has one."""
    ours, theirs = pty.openpty()
    yield Path(os.ttyname(theirs))
    os.close(ours)
    os.close(theirs)


async def test_add_on_has_no_terminal_of_the_host_but_its_own(
    daemon: Daemon, engine: Engine, base_image: str, terminal: Path
) -> None:
    await daemon.start()
    addon = await hostile(daemon, engine, base_image, "typist", map=["share:rw"])
    await addon.start()

    seen = addon.run_inside("ls /dev/pts").split()
    written = addon.run_inside(f"echo mine 2>/dev/null > {terminal} && echo written || echo refused")
    console = addon.run_inside("stat -Lc %t:%T /dev/console")
    made = [addon.run_inside(script) for script in (CONSOLE, DISK)]
    own = addon.run_inside(OWN)
    template = '{{range .Mounts}}{{if eq .Destination "/dev/pts"}}{{.Name}}{{end}}{{end}}'
    volume = engine.run("inspect", "--format", template, addon.container)
    await addon.restart()
    again = addon.run_inside(OWN)
    await addon.uninstall()
    left = engine.run("volume", "ls", "--quiet").split()

    assert (seen, written) == (["ptmx"], "refused")
    assert (console, made) == (NULL, ["refused", "refused"])
    assert (own, again) == ("opened", "opened")
    assert volume and volume not in left


async def test_add_on_that_has_everything_makes_nodes(daemon: Daemon, engine: Engine, base_image: str) -> None:
    await daemon.start()
    addon = await hostile(daemon, engine, base_image, "everything", full_access=True)
    await addon.start()
    protected = addon.run_inside(CONSOLE)
    await daemon.ok("POST", f"/addons/{addon.slug}/security", {"protected": False})
    await addon.restart()

    unprotected = addon.run_inside(CONSOLE)
    await addon.uninstall()

    assert (protected, unprotected) == ("refused", "made")
