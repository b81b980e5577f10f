"""The pure core: the state machine of a run. No clock, no randomness, no I/O, no `async`, no logging.

    state        what a run is between two messages
    decide       state × message → events (and what to answer)
    evolve       state × event → state
    react        state × event → what follows from it: rows and dispatches
    outstanding  state → everything that should be on the road now
    effects      the vocabulary of `react` and `outstanding`
    backoff      when to try again
    loop         the deterministic event loop on which agents' code runs

Time, ids and random numbers arrive in `Env`, with the message.
"""
