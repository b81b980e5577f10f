"""waypost_cli."""
