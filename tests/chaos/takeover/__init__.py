"""How long work stands still when a replica is killed, paused or leaves: `python -m tests.chaos.takeover`, measured from outside."""
