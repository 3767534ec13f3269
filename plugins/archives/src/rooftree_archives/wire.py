"""Messages between the daemon and a worker: a length, then JSON or bytes."""

from __future__ import annotations

import struct
from typing import Final

LENGTH: Final = struct.Struct("!I")
RAW: Final = 1 << 31
"""In a length: what follows is the result of a call as bytes, no JSON."""
