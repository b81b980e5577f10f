"""waypost_coordinator."""
