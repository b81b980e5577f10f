"""What Waypost costs per step, beside the floor: the same messages and rows with no logic. `python -m tests.bench --help`."""
