"""The parts of a real world that tests stand on: an engine, a registry, a git server, and the daemon as a process.

Nothing here imports Rooftree: the rig sees it as any operator does, through its command, its files and its API.
"""
