"""Regular expressions whose cost is bounded, so that no argument can keep a gateway busy.

Python's engine backtracks: `(a+)+b` takes exponential time on `aaaa…`. A pattern is accepted only if the number of ways in which it can
be matched from one place is bounded by a product that we can compute: an unbounded repeat can end at any of n places, an optional or
counted one at `max - min + 1`, a choice has as many ways as branches. Repeats within repeats, backreferences and look-around have no such
bound and are refused. Patterns match the whole text (`re.fullmatch`), so there is only one place to start from. A text for which the
product is too large is not judged (`None`): the rule then counts as the stricter of both.
"""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from typing import Any

MAX_PATTERN_CHARS = 512
MAX_WAYS = 1_000_000
"""Of matching a text; each costs some ten nanoseconds."""
MAX_TEXT_CHARS = 4_096

_PLAIN = frozenset({sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN, sre.AT})
_REPEATS = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT})


class BadPattern(ValueError):
    """The pattern cannot be used; the message says why."""


class BoundedPattern:
    """A pattern that `judge`s texts in bounded time. Raises `BadPattern`."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN_CHARS:
            raise BadPattern(f"the pattern has {len(pattern)} characters, the limit is {MAX_PATTERN_CHARS}")
        try:
            parsed = sre_parser.parse(pattern)
            self._compiled = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise BadPattern(f"{pattern!r} is not a regular expression: {error}") from error
        self._ways, self._unbounded = _ways(parsed, inside=False)
        if self._ways * 2**self._unbounded > MAX_WAYS or self._unbounded > 3:
            raise BadPattern(f"{pattern!r} can be matched in too many ways: use fewer of '*', '+', '?' and '|'")

    def judge(self, text: str) -> bool | None:
        """Whether the whole text matches; None for a text that would take too long."""
        if len(text) > MAX_TEXT_CHARS or self._ways * (len(text) + 1) ** self._unbounded > MAX_WAYS:
            return None
        return self._compiled.fullmatch(text) is not None


def _ways(items: Any, *, inside: bool) -> tuple[int, int]:
    """(fixed ways, number of unbounded repeats) of a parsed sequence; `inside` a repeat there may be only one way."""
    ways, unbounded = 1, 0
    for operator, argument in items:
        if operator in _PLAIN:
            continue
        if operator in _REPEATS:
            low, high, body = argument
            _ways(body, inside=True)
            if inside and low != high:
                raise BadPattern("a repeat within a repeat can take for ever: write it without")
            if high == sre.MAXREPEAT:
                unbounded += 1
            else:
                ways *= int(high) - int(low) + 1
        elif operator == sre.SUBPATTERN:
            inner, more = _ways(argument[-1], inside=inside)
            ways, unbounded = ways * inner, unbounded + more
        elif operator == sre.BRANCH and not inside:
            inners = [_ways(branch, inside=False) for branch in argument[1]]
            ways *= sum(inner for inner, _ in inners)
            unbounded += max(more for _, more in inners)
        elif operator == sre.BRANCH:
            raise BadPattern("'|' within a repeat can take for ever: write it without")
        else:
            raise BadPattern(f"{str(operator).lower()} is not supported: use literals, sets, groups, repeats and '|'")
    return ways, unbounded
