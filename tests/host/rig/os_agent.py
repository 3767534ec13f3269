"""The OS agent of the test host, as a test sees it: what it was asked, and what it is to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.host.rig.host import Host

SERVICE = "haos-agent.service"


class OsAgent:
    """``io.hass.os``; the service itself is ``image/files/usr/lib/test-host/os_agent.py``."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder

    def configure(self, **state: Any) -> None:
        """Restart it with another state: ``board="Yellow"``, ``refuse={"io.hass.os.System.ScheduleWipeDevice": "no"}``,
        or the value of a property, ``{"io.hass.os.Version": "1.4.0"}``."""
        path = self.folder / "state.json"
        self.host.systemctl("stop", SERVICE)
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(known | state), encoding="utf-8")
        self.host.systemctl("start", SERVICE)

    def calls(self) -> list[dict[str, Any]]:
        """What it was asked, the oldest first: ``interface`` and ``method`` with ``arguments``, or ``property`` with
        ``value``."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def called(self, method: str) -> list[list[Any]]:
        """The arguments of each call of a method, by its full name: ``io.hass.os.System.ScheduleWipeDevice``."""
        return [call["arguments"] for call in self.calls() if f"{call['interface']}.{call.get('method')}" == method]
