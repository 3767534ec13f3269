"""What the domains that control the machine share: its services as they are on the system bus."""
