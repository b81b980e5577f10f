"""waypost_io."""
