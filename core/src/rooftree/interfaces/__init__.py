"""Protocols, data types, events and hooks that several domains implement or consume.

No logic, and no kernel module imports this package: it is where domains meet, not what carries them. What only one
plugin offers lives in that plugin's own public module.
"""
