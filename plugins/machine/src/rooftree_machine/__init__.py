"""What the domains that control the host share: its services on the system bus, and what its kernel answers."""
