"""The host that Rooftree runs on: so far its system journal, and the boots it went through."""
