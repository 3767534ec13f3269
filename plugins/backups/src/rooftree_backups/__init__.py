"""Backups of the whole house: made, kept in several places, copied, thinned out, put back."""
