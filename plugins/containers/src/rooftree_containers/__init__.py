"""What every domain that runs containers shares, such as the routes of the logs family and of stats.

A library, not a plugin: it has no entry point, keeps no state and provides no service. Import its modules,
:mod:`rooftree_containers.logs` for one.
"""
