"""Deterministic simulation: the real services in one process, on simulated time, bus and store, under one seed. See docs/simulation.md."""
