"""Waypost beside LangGraph with its Postgres checkpointer, on the same Postgres in the same run. `python -m tests.bench peer --help`."""
