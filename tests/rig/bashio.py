"""The library ``bashio``, by which most add-ons talk to us: requests as it makes them with curl.

It sends JSON with every method, ``{}`` where there is nothing to say, and takes each status but 200 for a failure.
"""

from __future__ import annotations

import json
from typing import Any

from tests.rig.addon import Addon


def bashio(addon: Addon, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """A call from inside an add-on, with its own token. Status, and what ``jq`` finds under ``.data``; the whole answer
    where it is no JSON, as Core's answers through us."""
    content = json.dumps({} if body is None else body)
    head = (
        f"{method} {path} HTTP/1.1", "Host: supervisor", "User-Agent: curl/8.14.1", "Accept: */*",
        f"Authorization: Bearer {addon.token()}", "Content-Type: application/json",
        f"Content-Length: {len(content.encode())}", "Connection: close",
    )  # fmt: skip
    with addon.socket() as connection:
        connection.sendall("\r\n".join([*head, "", content]).encode())
        answer = connection.makefile("rb").read().decode()
    answered, _, text = answer.partition("\r\n\r\n")
    if "transfer-encoding: chunked" in answered.lower():
        text = "".join(text.split("\r\n")[1::2])
    said = json.loads(text)
    return int(answered.split()[1]), said.get("data") if isinstance(said, dict) and "result" in said else said
