"""What goes wrong in a life. A plan is a list of small numbers, consumed one at a turn; when it is used up all goes well.

So hypothesis shrinks trouble by shortening the list and by making its numbers smaller.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Crash(IntEnum):
    """What becomes of a worker's turn: of an advance, and of the coroutine."""

    NONE = 0
    AFTER = 1
    """The advance is accepted; then the worker dies, or evicts the run."""
    BEFORE = 2
    """The worker dies before its advance is stored: it never was."""
    SPLIT = 3
    """Only the beginning of the advance is accepted, as its own advance; then the worker dies."""
    TWICE = 4
    """The advance arrives again."""
    WIPE = 5
    """The advance is accepted, the worker dies, and everything in JetStream is lost."""
    ZOMBIE = 6
    """The advance is accepted; then the worker counts as lost and goes on all the same."""
    LATE = 7
    """The worker counts as lost before its advance arrives, a second later."""


class Troubles:
    """`turns`: a `Crash` for each turn of a worker. `every`: that crash at every turn that has something to report.

    `order`: for each thing that happens, how many things that are due earlier it comes before.
    """

    def __init__(self, turns: Iterable[int] = (), *, order: Iterable[int] = (), every: Crash = Crash.NONE) -> None:
        self._turns = iter(turns)
        self._order = iter(order)
        self._every = every
        self.crashes = 0
        self.split = False
        self.torn = False
        """An advance that ended the run was split: what was asked for in the last breath is then sent after all."""

    def turn(self, *, empty: bool = False) -> Crash:
        """What becomes of this turn. One that has nothing to report cannot go wrong every time: it would never end."""
        crash = Crash(next(self._turns, 0)) or (Crash.NONE if empty else self._every)
        self.crashes += crash is not Crash.NONE
        self.split |= crash is Crash.SPLIT
        return crash

    def number(self) -> int:
        """Any small number, 0 when all goes well."""
        return next(self._order, 0)
