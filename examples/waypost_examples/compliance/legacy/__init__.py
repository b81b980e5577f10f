"""The systems of other departments, as the desk finds them: separate, slow, and failing by a seeded schedule.

    core_banking   a Postgres database whose look-up sometimes sleeps past the caller's time limit
    kyc            an HTTP service in front of a SQLite file, slow
    sanctions      an HTTP service that times out and answers 503 with Retry-After
    regulator      the dashboard that receives reports: counts what arrives, can be asked by key, loses answers

Nothing here knows of Waypost. `python -m waypost_examples.compliance.legacy --help` starts the HTTP services, each in a process of its own.
"""
