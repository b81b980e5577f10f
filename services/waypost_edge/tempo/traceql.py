"""TraceQL, as far as Grafana's query builder writes it: one span set with conditions joined by `&&`, and `| select(…)` after it.

    { resource.service.name = "waypost-worker" && span.gen_ai.tool.name = "file-report" && duration > 2s } | select(span.waypost.attempt)

Everything else (`||`, several span sets, `>>`, aggregates) is refused with what it was and where: a search that silently means something
else is worse than none. The language: grafana.com/docs/tempo/latest/traceql.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from waypost_edge.tempo.fields import Field, field_of
from waypost_proto.errors import BadInput

Operator = Literal["=", "!=", ">", ">=", "<", "<=", "=~", "!~"]
Value: TypeAlias = "str | float | bool | None"
MAX_QUERY_CHARS = 8_192
MAX_CONDITIONS = 32
MAX_PATTERN_CHARS = 512

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)
    | (?P<duration>-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+(?![\w.]))
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<op>=~|!~|!=|>=|<=|=|>|<)
    | (?P<and>&&)
    | (?P<mark>\|\||[{}()|,])
    | (?P<word>[.\w](?:[\w.:/\-]|(?<=\.)"(?:[^"\\]|\\.)*")*)
    )""",
    re.VERBOSE,
)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}
_WORDS: dict[str, Value] = {"true": True, "false": False, "nil": None}


@dataclass(frozen=True, slots=True)
class Condition:
    """`field operator value`. Durations are in seconds; `status` and `kind` compare with their names."""

    field: Field
    operator: Operator
    value: Value
    pattern: re.Pattern[str] | None = None

    def holds(self, found: Value | list[str]) -> bool:
        """Whether a value of the field fits. A list fits if one of its items does; what is not there fits nothing but `= nil`."""
        if isinstance(found, list):
            return any(self.holds(item) for item in found)
        if self.value is None or found is None:
            return (found is None) is (self.operator == "=") if self.value is None else False
        if self.pattern is not None:
            return (self.pattern.fullmatch(str(found)) is not None) is (self.operator == "=~")
        if self.operator == "=":
            return _alike(found, self.value)
        if self.operator == "!=":
            return not _alike(found, self.value)
        if isinstance(found, str) != isinstance(self.value, str):
            return False
        return _ordered(found, self.operator, self.value)


@dataclass(frozen=True, slots=True)
class Query:
    """Every condition must hold for one and the same span. `select` are fields that the answer shows besides."""

    conditions: tuple[Condition, ...] = ()
    select: tuple[Field, ...] = ()
    never: bool = False
    """`{ false }`."""


EVERYTHING = Query()
"""`{}`."""


def parse(text: str) -> Query:
    """Read a query. Raises `BadInput` that says what is not understood, and where."""
    if len(text) > MAX_QUERY_CHARS:
        raise BadInput(f"the query has {len(text)} characters, the limit is {MAX_QUERY_CHARS}")
    return _Parser(text).query()


def duration_of(text: str) -> float:
    """Go's way to write a duration (`1m30s`, `250ms`) in seconds. Raises `BadInput`."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise BadInput(f"{text!r} is not a duration: write it like 250ms, 1.5s or 1m30s")
    return sign * sum(float(number) * _SECONDS[unit] for number, unit in parts)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._kind = self._word = ""
        self._next()

    def query(self) -> Query:
        if not self._word:
            return Query()
        self._expect("{")
        conditions: list[Condition] = []
        never = False
        while self._word != "}":
            found = self._condition()
            never |= found is False
            if isinstance(found, Condition):
                conditions.append(found)
            if len(conditions) > MAX_CONDITIONS:
                raise BadInput(f"more than {MAX_CONDITIONS} conditions")
            if self._word == "}":
                break
            if self._kind != "and":
                self._refuse()
            self._next()
        self._next()
        select: list[Field] = []
        while self._word == "|":
            self._next()
            if self._word != "select":
                self._refuse()
            self._next()
            select += self._selected()
        if self._word:
            self._refuse()
        return Query(tuple(conditions), tuple(select), never)

    def _condition(self) -> Condition | bool:
        """A condition, or a bare `true` or `false`."""
        if self._word in ("true", "false"):
            bare = self._word == "true"
            self._next()
            return bare
        if self._kind != "word":
            self._refuse()
        field = field_of(self._word)
        self._next()
        if self._kind != "op":
            raise BadInput(f"after {field.text} an operator is expected (=, !=, >, >=, <, <=, =~, !~), not {self._word or 'the end'!r}")
        operator: Operator = self._word  # type: ignore[assignment]  # the token pattern knows no other
        self._next()
        value = self._value()
        pattern = _pattern(value) if operator in ("=~", "!~") else None
        return Condition(field, operator, value, pattern)

    def _value(self) -> Value:
        kind, token = self._kind, self._word
        value: Value
        match kind:
            case "string":
                value = (
                    token[1:-1]
                    if token[0] == "`"
                    else re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), token[1:-1])
                )
            case "duration":
                value = duration_of(token)
            case "number":
                value = float(token)
            case "word" if token in _WORDS:
                value = _WORDS[token]
            case "word" if token.isalpha():
                value = token  # error, server: names that status and kind have
            case _:
                self._refuse()
        self._next()
        return value

    def _selected(self) -> list[Field]:
        self._expect("(")
        fields = [self._field()]
        while self._word == ",":
            self._next()
            fields.append(self._field())
        self._expect(")")
        return fields

    def _field(self) -> Field:
        if self._kind != "word":
            self._refuse()
        field = field_of(self._word)
        self._next()
        return field

    def _expect(self, token: str) -> None:
        if self._word != token:
            raise BadInput(f'{token!r} is expected at character {self._at}, not {self._word or "the end"!r}: write {{ name = "value" }}')
        self._next()

    def _refuse(self) -> None:
        what = self._word or "the end"
        raise BadInput(
            f"{what!r} at character {self._at} is not understood here: searches take one span set, conditions joined by &&, "
            'and select(…), such as { span.gen_ai.tool.name = "pay" && status = error }'
        )

    def _next(self) -> None:
        rest = self._text[self._at :]
        found = _TOKEN.match(rest)
        if found is None:
            if rest.strip():
                raise BadInput(f"{rest.strip()[:20]!r} is not understood in the query")
            self._kind = self._word = ""
            return
        self._kind = found.lastgroup or ""
        self._word = found[self._kind]
        self._at += found.end()


def _pattern(value: Value) -> re.Pattern[str]:
    if not isinstance(value, str) or len(value) > MAX_PATTERN_CHARS:
        raise BadInput(f"=~ and !~ take a regular expression in quotes, of at most {MAX_PATTERN_CHARS} characters")
    if re.search(r"[*+}]\)?[*+{]|\(\?|\\[1-9]", value):
        raise BadInput(f"{value!r}: nested repetitions, look-around and back-references are not for searches")
    try:
        return re.compile(value)
    except re.error as error:
        raise BadInput(f"{value!r} is no regular expression: {error}") from error


def _alike(found: str | float | bool, value: str | float | bool) -> bool:
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    return found == value


def _ordered(found: str | float | bool, operator: Operator, value: str | float | bool) -> bool:
    if isinstance(found, str) and isinstance(value, str):
        return {">": found > value, ">=": found >= value, "<": found < value, "<=": found <= value}[operator]
    left, right = float(found), float(value)
    return {">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}[operator]
