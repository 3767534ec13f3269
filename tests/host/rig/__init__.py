"""The test host: a machine with systemd in a container, and what a test may do with it."""
