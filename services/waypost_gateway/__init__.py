"""waypost_gateway."""
