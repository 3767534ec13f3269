"""Which values are better not shown, judged by what they are called: for settings, logs and the command line."""

from __future__ import annotations

import re
from functools import cache

_SECRET = re.compile(r"token|password|passwd|passphrase|secret|authorization|api_?key|private_?key|credential|cookie")
_ABOUT_A_SECRET = re.compile(r"_(id|ids|name|names|count|kind|path|file|type|role|hash|expires|created|timeout(_s)?)$")


@cache
def looks_secret(key: str) -> bool:
    """Whether the value of a thing called ``key`` is better not shown: ``api_token`` yes, ``token_name`` no."""
    name = key.lower().replace("-", "_")
    return _SECRET.search(name) is not None and _ABOUT_A_SECRET.search(name) is None
