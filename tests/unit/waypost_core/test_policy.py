"""Policies: what matches, what cannot be judged, what a file may say, and that no pattern takes for ever."""

from __future__ import annotations

import time
from typing import Any

import pytest

from waypost_core.policy import Allow, Deny, Policy, PolicyFault, PolicyRequest, RequireApproval, Terms
from waypost_core.policy.arguments import predicate
from waypost_core.policy.patterns import BadPattern, BoundedPattern
from waypost_proto.values import BudgetLeft, Effect


def rule(decision: str = "deny", **keys: str) -> Policy:
    lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
    return Policy.parse(f'[[rules]]\nname = "r"\ndecision = "{decision}"\n{lines}\n')


def request(**fields: Any) -> PolicyRequest:
    return PolicyRequest(**{"agent": "clerk", "tool": "pay-invoice", "effect": Effect.UNSAFE, **fields})


@pytest.mark.parametrize(
    ("keys", "fields", "matches"),
    [
        ({}, {}, True),
        ({"tools": '["pay-*"]'}, {}, True),
        ({"tools": '["*"]'}, {}, True),
        ({"tools": '["pay"]'}, {}, False),
        ({"tools": '["a", "pay-invoice"]'}, {}, True),
        ({"agents": '["cl*"]', "tools": '["look"]'}, {}, False),
        ({"effects": '["read"]'}, {}, False),
        ({"effects": '["read", "unsafe"]'}, {}, True),
        ({"tenants": '["acme"]'}, {}, False),
        ({"tenants": '["acme"]'}, {"tenant": "acme"}, True),
        ({"labels": '{ desk = "n*h" }'}, {"labels": {"desk": "north"}}, True),
        ({"labels": '{ desk = "n*h", x = "y" }'}, {"labels": {"desk": "north"}}, False),
        ({"taint": '["web", "mail"]'}, {"taint": ("mail", "pii")}, True),
        ({"taint": '["web"]'}, {"taint": ("pii",)}, False),
        ({"untainted": "true"}, {}, True),
        ({"untainted": "true"}, {"taint": ("web",)}, False),
        ({"budget_below": "{ steps = 5 }"}, {"budget_left": BudgetLeft(steps=4)}, True),
        ({"budget_below": "{ steps = 5 }"}, {"budget_left": BudgetLeft(steps=5)}, False),
        ({"budget_below": "{ steps = 5, cost_usd = 1 }"}, {"budget_left": BudgetLeft(cost_usd=0.5)}, True),
        ({"budget_below": "{ steps = 5 }"}, {}, False),
    ],
)
def test_a_rule_matches_when_all_it_names_matches(keys: dict[str, str], fields: dict[str, Any], matches: bool) -> None:
    assert rule(**keys).judge(request(**fields)) == (Deny(rule="r") if matches else None)


ARGUMENTS = {
    "amount": 100,
    "flag": True,
    "country": "CH",
    "case": {"id": "c-7", "none": None},
    "lines": [{"sum": 5}, {"sum": 50}],
    "empty": [],
}


@pytest.mark.parametrize(
    ("path", "op", "value", "verdict"),
    [
        ("amount", "==", 100, True),
        ("amount", "==", 100.0, True),
        ("amount", ">", 99.5, True),
        ("amount", ">", 100, False),
        ("amount", ">=", 100, True),
        ("amount", "<", 100, False),
        ("amount", "<=", 100, True),
        ("amount", ">", "a", None),
        ("country", ">", 1, None),
        ("country", "<", "DE", True),
        ("flag", "==", 1, False),
        ("flag", "==", True, True),
        ("flag", ">", 0, None),
        ("amount", "in", [1, 100], True),
        ("country", "in", ["CH", 7], True),
        ("country", "not in", ["DE"], True),
        ("country", "matches", "C.", True),
        ("country", "matches", "C", False),
        ("amount", "matches", "1", None),
        ("case.id", "matches", "c-[0-9]+", True),
        ("case.none", "exists", True, True),
        ("case.nothing", "exists", True, False),
        ("case.nothing", "exists", False, True),
        ("case.nothing", "==", None, False),
        ("case.nothing", "!=", 7, True),
        ("case.nothing", "not in", [7], True),
        ("case.nothing", ">", 7, False),
        ("lines.0.sum", "==", 5, True),
        ("lines.2.sum", "==", 5, False),
        ("lines.*.sum", ">", 40, True),
        ("lines.*.sum", ">", 60, False),
        ("lines.*.sum", "!=", 5, False),
        ("case.*", "==", "c-7", True),
        ("empty.*", "exists", True, False),
        ("amount.x", "exists", True, False),
    ],
)
def test_predicates(path: str, op: str, value: Any, verdict: bool | None) -> None:
    assert predicate(path, op, value)(ARGUMENTS) is verdict


def test_what_cannot_be_judged_is_not_waved_through() -> None:
    when = '[{ path = "amount", op = "<", value = 10 }]'
    odd = request(arguments={"amount": "9"})
    assert rule("allow", when=when).judge(odd) is None
    assert rule("deny", when=when).judge(odd) == Deny(rule="r")
    assert rule("deny", when=when).judge(request(arguments={})) is None


def test_a_path_into_too_many_values_is_not_judged() -> None:
    judge = predicate("rows.*", "==", 1)
    assert judge({"rows": [0] * 10_000}) is False
    assert judge({"rows": [0] * 10_001}) is None


def test_the_first_rule_that_matches_decides_and_then_the_default() -> None:
    text = """
default = "deny"
[[rules]]
name = "first"
decision = "allow"
tools = ["pay-*"]
agents = ["clerk"]
[[rules]]
name = "second"
decision = "deny"
tools = ["pay-*"]
"""
    policy = Policy.parse(text)
    assert policy.judge(request()) == Allow(rule="first")
    assert policy.judge(request(agent="other")) == Deny(rule="second")
    assert policy.judge(request(tool="look")) is None
    assert isinstance(policy.otherwise(), Deny)
    assert isinstance(Policy.parse("").otherwise(), Allow)


def test_an_approval_says_who() -> None:
    policy = rule("require_approval", approval='{ role = "officer", quorum = 2, expires_hours = 0.5, on_expiry = "escalate" }')
    verdict = policy.judge(request())
    assert verdict == RequireApproval(role="officer", quorum=2, expires_seconds=1800.0, on_expiry="escalate", rule="r")
    assert isinstance(verdict, RequireApproval)
    assert str(verdict.terms) == "officer*2"


def test_terms_are_met_by_the_same_role_and_as_many_people() -> None:
    terms = Terms(role="a*b", quorum=2)
    assert [terms.met_by(given) for given in ("a*b*2", "a*b*3", "a*b*1", "a*2", "", "a*b*x")] == [True, True, False, False, False, False]


def test_arguments_are_only_decoded_where_a_rule_looks_at_them() -> None:
    policy = rule(tools='["pay-*"]', when='[{ path = "x", op = "exists", value = true }]')
    assert policy.needs_arguments("clerk", "pay-x", Effect.READ, "default")
    assert not policy.needs_arguments("clerk", "look", Effect.READ, "default")


# -- files


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("default = maybe", 1, "not TOML"),
        ('a = "\n', 1, "not TOML"),
        ('version = "x"\ndefault = "perhaps"\n', 2, "Invalid enum value 'perhaps'"),
        ("rulez = 1\n", 1, "unknown field `rulez`"),
        ('[[rules]]\nname = "a"\n', 1, "missing required field `decision`"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\n\n[[rules]]\nname = "b"\ndecision = "no"\n', 7, "Invalid enum value 'no'"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\ntaints = ["x"]\n', 4, "unknown field `taints`"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\n[[rules]]\nname = "a"\ndecision = "deny"\n', 4, "a second rule is named 'a'"),
        ('[[rules]]\nname = "a"\ndecision = "require_approval"\n', 1, "needs approval"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\napproval = { role = "x" }\n', 1, "has an approval, but its decision is 'deny'"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\ntaint = ["X"]\n', 1, "taint label 'X'"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\ntaint = ["x"]\nuntainted = true\n', 1, "matches nothing"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\ntools = ["a b"]\n', 1, "'a b' is not a name"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\ntools = ["*a*b*c*"]\n', 1, "more than 3 '*'"),
        ('[[rules]]\nname = ""\ndecision = "deny"\n', 1, "name ''"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\nwhen = [{ path = "a..b", op = "==", value = 1 }]\n', 1, "path 'a..b'"),
        ('[[rules]]\nname = "a"\ndecision = "deny"\nwhen = [{ path = "a", op = "is", value = 1 }]\n', 1, "operator 'is'"),
        (
            '[[rules]]\nname = "a"\ndecision = "deny"\nwhen = [{ path = "a", op = "matches", value = "(a+)+" }]\n',
            1,
            "repeat within a repeat",
        ),
        ('[[rules]]\nname = "a"\ndecision = "deny"\nwhen = [{ path = "a", op = "in", value = 1 }]\n', 1, "in takes a list"),
        ("x" * 1_100_000, 0, "the limit is"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        Policy.parse(text)
    assert message in str(caught.value)
    assert caught.value.line == line


def test_a_version_is_that_of_the_meaning() -> None:
    one = Policy.parse('version = "v1"\n[[rules]]\nname = "a"\ndecision = "deny"\n')
    same = Policy.parse('# comment\n version="v1"\n\n[[rules]]\ndecision = "deny"\nname = "a"')
    other = Policy.parse('version = "v1"\n[[rules]]\nname = "a"\ndecision = "allow"\n')
    assert one.version == same.version != other.version
    assert one.version.startswith("v1@")


# -- patterns


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a*)*",
        "(a|aa)+$",
        "(a?){9}b",
        r"(.)\1",
        "(?=a)b",
        "(?<!a)b",
        "a?" * 40 + "b",
        "a*a*a*a*b",
        "(",
        "x" * 600,
        "(ab|cd|ef|gh)" * 12,
    ],
)
def test_a_pattern_without_a_bound_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        BoundedPattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "verdict"),
    [
        (".*@evil\\.example", "bob@evil.example", True),
        ("(?i)GB\\d{2}[A-Z0-9]+", "gb29NWBK", True),
        ("a|b|cd?", "cd", True),
        ("[^x]{3}", "abx", False),
        ("a*b", "a" * 5_000, None),
        (".*a.*b", "c" * 4_000, None),
        ("(ab){3}", "ababab", True),
    ],
)
def test_patterns_are_judged(pattern: str, text: str, verdict: bool | None) -> None:
    assert BoundedPattern(pattern).judge(text) is verdict


@pytest.mark.parametrize("pattern", ["a*a*b", ".*x.*y.*", "a?a?a?a?a?a*b", "(a|a|a)(a|a)a*b", "a{0,30}a{0,30}b"])
def test_the_worst_text_does_not_take_for_ever(pattern: str) -> None:
    """A guard against a bound that does not hold: exponential patterns take minutes here, bounded ones milliseconds."""
    bounded = BoundedPattern(pattern)
    began = time.monotonic()
    for length in (10, 50, 100, 500, 1_000, 4_000):
        assert bounded.judge("a" * length + "!") in (False, None)
    assert time.monotonic() - began < 20
