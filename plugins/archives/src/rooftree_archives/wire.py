"""Messages between the daemon and a worker: a length, then JSON or bytes."""

from __future__ import annotations

import struct
from typing import Final

LENGTH: Final = struct.Struct("!I")
RAW: Final = 1 << 31
"""In a length: what follows is bytes, no JSON: the result of a call, or more of the file that is received."""
