"""Predicates on a call's arguments: a path into the JSON object, an operator, a value. Prepared once, asked per call.

A path names keys by dots, elements of arrays by number, and any element by `*`: `case.amount`, `lines.0.sum`, `lines.*.sum`. Any of
the values found may fulfil the predicate. What is not there fulfils `!=`, `not in` and `exists = false`, and nothing else. Numbers are
compared with numbers and strings with strings; what cannot be compared is not judged (`None`), as is a text too long for a pattern.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from waypost_core.policy.patterns import BoundedPattern

Judge = Callable[[dict[str, Any]], bool | None]
"""Arguments → whether the predicate holds; None: it cannot be judged."""

MAX_VISITS = 10_000
"""Values that one path looks at; a call with more is not judged."""

_ORDER: dict[str, Callable[[Any, Any], bool]] = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
OPERATORS = ("==", "!=", *_ORDER, "in", "not in", "matches", "exists")


class BadPredicate(ValueError):
    """The predicate cannot be used; the message says why."""


def predicate(path: str, op: str, value: Any) -> Judge:
    """The predicate as a function. Raises `BadPredicate`, `patterns.BadPattern`."""
    steps = tuple(path.split("."))
    if not path or not all(steps):
        raise BadPredicate(f"path {path!r}: write keys with dots between them, for example 'case.amount' or 'lines.*.sum'")
    if op == "exists":
        if not isinstance(value, bool):
            raise BadPredicate(f"exists takes true or false, not {value!r}")
        return lambda arguments: any(True for _ in _found(arguments, steps)) is value
    if op in ("!=", "not in"):
        return _negated(predicate(path, "==" if op == "!=" else "in", value))
    return _some(steps, _test(op, value))


def _test(op: str, value: Any) -> Callable[[Any], bool | None]:
    if op == "==":
        return lambda found: _same(found, value)
    if op == "in":
        if not isinstance(value, list) or not value:
            raise BadPredicate(f"in takes a list of values, not {value!r}")
        plain = frozenset(item for item in value if isinstance(item, str))
        rest = [item for item in value if not isinstance(item, str)]
        return lambda found: found in plain if isinstance(found, str) else any(_same(found, item) for item in rest)
    if op == "matches":
        if not isinstance(value, str):
            raise BadPredicate(f"matches takes a regular expression, not {value!r}")
        pattern = BoundedPattern(value)
        return lambda found: pattern.judge(found) if isinstance(found, str) else None
    if op in _ORDER:
        if not (_is_number(value) or isinstance(value, str)):
            raise BadPredicate(f"{op} takes a number or a string, not {value!r}")
        compare = _ORDER[op]
        return lambda found: compare(found, value) if _comparable(found, value) else None
    raise BadPredicate(f"operator {op!r}: use one of {', '.join(OPERATORS)}")


def _some(steps: tuple[str, ...], test: Callable[[Any], bool | None]) -> Judge:
    def judge(arguments: dict[str, Any]) -> bool | None:
        unsure = False
        for visits, found in enumerate(_found(arguments, steps)):
            if visits >= MAX_VISITS:
                return None
            verdict = test(found)
            if verdict:
                return True
            unsure = unsure or verdict is None
        return None if unsure else False

    return judge


def _negated(judge: Judge) -> Judge:
    def negation(arguments: dict[str, Any]) -> bool | None:
        verdict = judge(arguments)
        return None if verdict is None else not verdict

    return negation


def _found(value: Any, steps: tuple[str, ...]) -> Iterator[Any]:
    """All values at a path."""
    for position, step in enumerate(steps):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif step == "*" and isinstance(value, dict | list):
            for element in value.values() if isinstance(value, dict) else value:
                yield from _found(element, steps[position + 1 :])
            return
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return
    yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _comparable(found: Any, value: Any) -> bool:
    return (_is_number(found) and _is_number(value)) or (isinstance(found, str) and isinstance(value, str))


def _same(found: Any, value: Any) -> bool:
    """Equal as JSON: `true` is not 1."""
    return isinstance(found, bool) == isinstance(value, bool) and bool(found == value)
