"""waypost_audit."""
