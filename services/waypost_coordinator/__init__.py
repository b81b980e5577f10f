"""The coordinator: owns every run's state machine, is the only writer of the event log, and hosts `waypost.api.*`.

letters     what wants to change a run             leases      which partitions are ours
deciding    letters → batch                         takeover    what is done when a partition becomes ours
pipeline    decide, commit, publish                 mailroom    the mailbox pumps
settling    after the commit                        intake      tasks become runs
waking      when a run gets an activation           front       requests and their answers
posting     effects → rows and messages             timers      what is due
live        runs in memory                          sweep       what nobody reports
registry    who hosts what                          dead        what cannot be handled
"""
