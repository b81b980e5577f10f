"""TraceQL: what Grafana's query builder writes is understood, and everything else is refused with a reason."""

from __future__ import annotations

import pytest

from waypost_edge.tempo.traceql import MAX_CONDITIONS, duration_of, parse
from waypost_proto.errors import BadInput


@pytest.mark.parametrize("text", ["", " ", "{}", "{ }", "{ true }", "{true && true}"])
def test_everything(text: str) -> None:
    assert parse(text).conditions == ()
    assert not parse(text).never


def test_nothing() -> None:
    assert parse("{ false }").never


def test_what_the_query_builder_writes() -> None:
    found = parse('{resource.service.name="waypost-worker" && name=~"chat .*" && status=error && duration>1.5s && span.waypost.attempt>=2}')
    assert [(c.field.scope, c.field.name, c.operator, c.value) for c in found.conditions] == [
        ("resource", "service.name", "=", "waypost-worker"),
        ("intrinsic", "name", "=~", "chat .*"),
        ("intrinsic", "status", "=", "error"),
        ("intrinsic", "duration", ">", 1.5),
        ("span", "waypost.attempt", ">=", 2.0),
    ]


def test_every_way_to_write_a_field_and_a_value() -> None:
    text = '{ .a.b != nil && span."with space" = `raw "text"` && trace:duration < 2m && kind = server && span.x = true && .y = "q\\"uote" }'
    found = parse(text)
    assert [(c.field.scope, c.field.name, c.operator, c.value) for c in found.conditions] == [
        ("any", "a.b", "!=", None),
        ("span", "with space", "=", 'raw "text"'),
        ("intrinsic", "traceDuration", "<", 120.0),
        ("intrinsic", "kind", "=", "server"),
        ("span", "x", "=", True),
        ("any", "y", "=", 'q"uote'),
    ]


def test_what_grafana_appends_for_its_table() -> None:
    found = parse("{nestedSetParent<0 && true} | select(status, resource.service.name, span.gen_ai.tool.name)")
    assert [(c.field.name, c.operator, c.value) for c in found.conditions] == [("nestedSetParent", "<", 0.0)]
    assert [field.name for field in found.select] == ["status", "service.name", "gen_ai.tool.name"]


@pytest.mark.parametrize(
    "text",
    [
        '{ name = "a" || name = "b" }',
        '{ name = "a" } && { name = "b" }',
        '{ name = "a" } >> { name = "b" }',
        "{ } | rate()",
        "{ } | count() > 2",
        "{ } | by(name)",
        '{ name = "a" ',
        "{ name }",
        "{ name = }",
        '{ = "a" }',
        "{ unknown = 1 }",
        '{ (name = "a") }',
        '{ !(name = "a") }',
        "{ event.name = 1 }",
        '{ name = "a" && }}',
        "name",
        "{ name =~ 5 }",
        '{ name =~ "(" }',
        '{ name =~ "(a+)+b" }',
        '{ name =~ "(?=a)" }',
        "{ name = \x00 }",
        "{" + " && ".join(["status = error"] * (MAX_CONDITIONS + 1)) + "}",
        "{" + " " * 9_000 + "}",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse(text)


@pytest.mark.parametrize(
    ("operator", "value", "found", "holds"),
    [
        ("=", '"a"', "a", True),
        ("=", '"a"', "A", False),
        ("!=", '"a"', "b", True),
        ("!=", '"a"', None, False),
        ("=", "nil", None, True),
        ("!=", "nil", "x", True),
        ("!=", "nil", None, False),
        (">", "2", 3, True),
        (">", "2", "3", False),
        ("=", "2", 2, True),
        ("=", "true", True, True),
        ("=", "1", True, False),
        ("=~", '"a.c"', "abc", True),
        ("=~", '"a"', "abc", False),
        ("!~", '"a.*"', "abc", False),
        ("=", '"b"', ["a", "b"], True),
        (">=", '"b"', "c", True),
    ],
)
def test_how_conditions_judge(operator: str, value: str, found: object, holds: bool) -> None:
    condition = parse(f"{{ .x {operator} {value} }}").conditions[0]
    assert condition.holds(found) is holds  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "seconds"), [("1.5s", 1.5), ("250ms", 0.25), ("1m30s", 90), ("2h", 7200), ("10us", 1e-5), ("-3s", -3)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5x", "1s1"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(BadInput):
        duration_of(text)
