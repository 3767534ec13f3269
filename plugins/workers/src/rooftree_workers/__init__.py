"""Work beside the event loop that ends with whoever wanted it: threads and child processes; and work that is woken.

What merely blocks goes to :func:`asyncio.to_thread`. This is for what must not go on behind everybody's back.
"""

from rooftree_workers.child_processes import child_process
from rooftree_workers.disposable import DisposableProcesses, Ended, Hanging
from rooftree_workers.threads import to_thread_stoppable, to_thread_whole
from rooftree_workers.waking import WokenWork

__all__ = [
    "DisposableProcesses",
    "Ended",
    "Hanging",
    "WokenWork",
    "child_process",
    "to_thread_stoppable",
    "to_thread_whole",
]
