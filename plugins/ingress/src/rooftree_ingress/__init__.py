"""Add-ons' pages in Home Assistant: sessions, panels, and the proxy in front of the pages."""
