"""Random programs: hypothesis writes durable functions, a small world lives them, and every crash must leave the same story.

docs/random-programs.md says what is made, what must hold, and how to run many: `python -m tests.programs --examples 5000 --seed 1`.
"""
