"""What the tests with a real Home Assistant Core stand on: its image, somebody who uses it, a browser."""
