"""Imports structlog without rich. Whoever runs as the daemon imports this before anything that logs.

structlog imports rich where it finds it, to paint tracebacks. The daemon renders its lines itself
(``rooftree.process.logs``), and would pay a fifth of its start and several megabytes for nothing; rich is there for
the commands alone.
"""

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # "there is no such module", in the import system's words
    try:
        import structlog  # noqa: F401  # for what its import does
    finally:
        del sys.modules["rich"]
