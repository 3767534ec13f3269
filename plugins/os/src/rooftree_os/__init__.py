"""The machine's operating system: so far its boards."""
