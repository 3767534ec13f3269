"""Work beside the event loop that ends with whoever wanted it: threads and child processes.

What merely blocks goes to :func:`asyncio.to_thread`. This is for what must not go on behind everybody's back.
"""

from rooftree_workers.child_process import child_process, die_with_daemon
from rooftree_workers.threads import to_thread_stoppable, to_thread_whole

__all__ = ["child_process", "die_with_daemon", "to_thread_stoppable", "to_thread_whole"]
