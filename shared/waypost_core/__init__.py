"""waypost_core."""
