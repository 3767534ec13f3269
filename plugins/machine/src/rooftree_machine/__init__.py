"""What the domains that control the host share: its services as they are on the system bus."""
