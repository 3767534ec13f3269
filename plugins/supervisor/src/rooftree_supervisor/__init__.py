"""What Rooftree says about itself: what it is, how it is set, what it logs, and the jobs it has under way."""
