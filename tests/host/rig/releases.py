"""Home Assistant OS as far as a test host can be it: its release file, and update bundles that rauc installs."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from tests.host.rig.host import Host

COMPATIBLE = "test-host"
"""What a bundle says it is for; rauc refuses any other."""
AGENT_BOARDS = {"green": "Green", "yellow": "Yellow", "rpi4-64": "Rpi4-64", "rpi5-64": "Rpi5-64"}
"""How the OS agent names the boards that the release file names on the left; any other has no object of its own."""
MANIFEST = """\
[update]
compatible={compatible}
version={version}

[bundle]
format=plain

[image.kernel]
filename=kernel.img

[image.rootfs]
filename=rootfs.img
"""
RELEASE = """\
NAME="Home Assistant OS"
VERSION="{version}"
ID=haos
VERSION_ID={version}
PRETTY_NAME="Home Assistant OS {version}"
CPE_NAME=cpe:2.3:o:home-assistant:haos:{version}:*:production:*:*:*:{board}:*
HOME_URL=https://hass.io/
VARIANT="Home Assistant OS"
VARIANT_ID={board}
"""


@frozen
class HomeAssistantOs:
    """One release for one board."""

    version: str = "16.3"
    board: str = "generic-x86-64"
    """As in the release file: ``green``, ``yellow``, ``rpi5-64`` …"""

    @property
    def agent_board(self) -> str:
        """The board in the words of the OS agent."""
        return AGENT_BOARDS.get(self.board, self.board)

    def image(self) -> bytes:
        """What this host boots from its rootfs slot."""
        return RELEASE.format(version=self.version, board=self.board).encode()

    def bundle(self, host: Host, *, compatible: str = COMPATIBLE) -> Path:
        """A signed rauc bundle that installs it; a path for the host and for us."""
        name = f"bundle-{secrets.token_hex(4)}"
        content = host.shared / name
        content.mkdir()
        (content / "kernel.img").write_bytes(f"kernel of {self.version}\n".encode())
        (content / "rootfs.img").write_bytes(self.image())
        (content / "manifest.raucm").write_text(
            MANIFEST.format(compatible=compatible, version=self.version), encoding="utf-8"
        )
        bundle = host.shared / f"{name}.raucb"
        key = ("--cert", "/etc/rauc/test.pem", "--key", "/etc/rauc/test.key")
        host.run("rauc", "bundle", *key, content, bundle)
        return bundle
