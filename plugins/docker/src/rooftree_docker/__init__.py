"""The driver of the Docker Engine. Plugins use it through :mod:`rooftree.interfaces.containers` only."""
