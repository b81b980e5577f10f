"""A run's history as people read it: a fold of the log into entries, and entries into words. Pure: no clock, no I/O.

    chronicle = Chronicle(run_id, capture)
    for event in events:                       # in order of seq, from 1
        chronicle.feed(event)
    account = chronicle.account()              # everything so far, and what the run waits for now
    lines = tell(account)                      # or markdown(account)

A trace (`waypost_core.tracing`) is made of the same log, and made for machines: it has times and parents, and leaves out what people said,
why a limit was reached, and how the run ended. This is the other half (decision 0340).

entries      what is remembered: entries, attempts, waits, gates, the account
fold         the fold: the run itself, pauses, notes; it sends the rest to its families
calls        the fold of tool calls, their attempts and approvals
waiting      the fold of steps, children, timers, signals, questions
now          what a run waits for, and what one can do about it
telling      an account as lines of text
sentences    the words of one entry
markdown     an account as Markdown
"""

from waypost_core.chronicle.entries import Account, Attempt, Entry, Gate, Pending, Wait
from waypost_core.chronicle.fold import Chronicle
from waypost_core.chronicle.markdown import markdown
from waypost_core.chronicle.sentences import sentence
from waypost_core.chronicle.telling import tell

__all__ = ["Account", "Attempt", "Chronicle", "Entry", "Gate", "Pending", "Wait", "markdown", "sentence", "tell"]
