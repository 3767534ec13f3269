"""The host's operating system: its version and updates, slots, swap, data disk, and its boards."""
