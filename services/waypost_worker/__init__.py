"""waypost_worker."""
