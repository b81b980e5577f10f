"""Examples that run. The compliance desk comes first; `waypost demo` starts it with all that it needs."""
