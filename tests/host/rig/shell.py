"""``make host-shell``: a shell in a test host that is up; it goes when the shell ends.

``--board`` makes it a Home Assistant OS on that board, ``--rooftree`` starts a daemon of this checkout on it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import AsyncExitStack, suppress

from tests.host.rig.host import Host, test_host
from tests.host.rig.image import Unavailable
from tests.host.rig.releases import HomeAssistantOs
from tests.rig.daemon import ROOFTREE, disposable_daemon
from tests.rig.engine import Engine

RELEASE = HomeAssistantOs()


def main() -> int:
    """Boot it, say where it can be reached, and hand over to the shell."""
    parser = argparse.ArgumentParser(prog="make host-shell ARGS=…", description="A shell in a test host.")
    parser.add_argument("--board", help="be a Home Assistant OS on this board: green, yellow, generic-x86-64 …")
    parser.add_argument("--version", default=RELEASE.version, help="of that Home Assistant OS (%(default)s)")
    parser.add_argument("--rooftree", action="store_true", help="with Rooftree, as this checkout has it")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("the test host needs root", file=sys.stderr)
        return 1
    try:
        with test_host(Engine()) as host:
            if options.board:
                host.become(HomeAssistantOs(options.version, options.board))
            asyncio.run(_shell(host, with_rooftree=options.rooftree))
    except Unavailable as error:
        print(f"no test host here: {error}", file=sys.stderr)
        return 1
    return 0


async def _shell(host: Host, *, with_rooftree: bool) -> None:
    print("\nFor programs of this machine:")
    for name, value in host.engine.surroundings.environment.items():
        print(f"  export {name}={value}")
    print(f"Its journal is at {host.journal_socket}; what lies in {host.shared} is in the host under the same path.")
    async with AsyncExitStack() as stack:
        daemon = None
        if with_rooftree:
            stack.enter_context(host.network())
            daemon = await stack.enter_async_context(disposable_daemon(host.engine))
            await daemon.start()
            print("For Rooftree, in the shell:")
            print(f"  curl --header 'Authorization: Bearer {daemon.admin_token}' {daemon.url}/supervisor/info")
            print("and on this machine:")
            print(f"  {ROOFTREE} --data-dir {daemon.data_dir} call GET /host/info")
        print("The host goes when this shell ends; one that is rebooted comes back with a new shell.\n", flush=True)
        arguments = ["exec", "--interactive", *(["--tty"] if sys.stdin.isatty() else []), host.name, "bash"]
        while True:
            shell = await asyncio.create_subprocess_exec("docker", *arguments)
            status = await shell.wait()
            if not _has_ended(host, killed=status > 128):
                return
            print("The host was rebooted or switched off, which look alike here: booting it again.", flush=True)
            host.boot()
            if daemon is not None:
                await daemon.kill()  # it is in the network of the host as it was before
                await daemon.start()


def _has_ended(host: Host, *, killed: bool) -> bool:
    """Whether the host is off; one that ends kills its shell first."""
    if killed:
        with suppress(TimeoutError):
            host.wait_until_off()
    return not host.running


if __name__ == "__main__":
    sys.exit(main())
