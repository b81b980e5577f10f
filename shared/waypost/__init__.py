"""waypost."""
