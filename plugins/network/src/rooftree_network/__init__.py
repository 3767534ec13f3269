"""The host's network: its interfaces, and whether anything beyond them can be reached. So far it is read only."""
