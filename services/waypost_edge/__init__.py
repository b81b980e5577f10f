"""waypost_edge."""
