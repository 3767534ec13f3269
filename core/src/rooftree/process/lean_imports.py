"""Leaves out of what the daemon imports what only developers look at. Whoever runs as the daemon imports this first.

structlog imports rich where it finds it, to paint tracebacks. The daemon renders its lines itself
(``rooftree.process.logs``), and would pay a fifth of its start and several megabytes for nothing; rich is there for
the commands alone.

attrs writes Python for each class, and keeps the text of it for debuggers in :data:`linecache.cache`: 2 MB with the
classes of six domains, and never looked at.
"""

import linecache
import sys
from typing import Any


class _LinesOfFiles(dict[str, Any]):
    """What :mod:`linecache` keeps, without the lines of code that stands in no file."""

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As ``dict`` has it, for all but what attrs wrote: that is answered, and not kept."""
        return default if key.startswith("<attrs generated") else super().setdefault(key, default)


linecache.cache = _LinesOfFiles(linecache.cache)  # ours: it is a dict, and no path

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # "there is no such module", in the import system's words
    try:
        import structlog  # noqa: F401  # for what its import does
    finally:
        del sys.modules["rich"]
