"""Home Assistant Core: its container, its settings, and the way to its API."""
