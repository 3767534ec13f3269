"""What add-ons tell Home Assistant Core (discovery messages) and each other (services)."""
