"""waypost_examples."""
