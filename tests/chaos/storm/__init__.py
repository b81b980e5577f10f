"""A storm: random faults under one seed on real processes, judged from outside. `python -m tests.chaos` runs it; docs/chaos.md tells."""
