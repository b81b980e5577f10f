"""A policy prepared to be asked for every call: first match wins, in the order of the file.

For each (agent, tool, effect, tenant) the rules that can match at all are found once and kept; per call only taint, labels, budget and
arguments are looked at. A rule that cannot be judged counts as matching when it is the stricter one (deny, require approval), and as not
matching when it allows: a call that nobody can judge is not waved through.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from waypost_core.policy.arguments import Judge, predicate
from waypost_core.policy.rules import BudgetBelow, PolicyFile, Rule, parse_policy
from waypost_core.policy.verdict import ALLOWED, Allow, Deny, PolicyRequest, RequireApproval, Verdict
from waypost_proto.values import BudgetLeft, Effect

MAX_KINDS = 4_096
"""Kinds of calls whose rules are kept; what is more is looked for again."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    rule: Rule
    verdict: Verdict
    taint: frozenset[str]
    judges: tuple[Judge, ...]
    labels: tuple[tuple[str, Callable[[str], bool]], ...]


class Policy:
    """Asks a file's rules. Make it anew when the file changes."""

    def __init__(self, file: PolicyFile, version: str) -> None:
        self.version = version
        self.default = file.default
        self._rules = [_prepared(rule) for rule in file.rules]
        self._of_kind = lru_cache(maxsize=MAX_KINDS)(self._select)

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Raises `PolicyFault`."""
        return cls(*parse_policy(text))

    @property
    def rules(self) -> int:
        return len(self._rules)

    def needs_arguments(self, agent: str, tool: str, effect: Effect, tenant: str) -> bool:
        """Whether any rule for such calls looks at arguments: a call's need not be decoded otherwise."""
        return any(found.judges for found in self._of_kind(agent, tool, effect, tenant))

    def judge(self, request: PolicyRequest) -> Verdict | None:
        """The verdict of the first rule that matches; None if none does (see `otherwise`)."""
        for found in self._of_kind(request.agent, request.tool, request.effect, request.tenant):
            if _matches(found, request):
                return found.verdict
        return None

    def otherwise(self) -> Verdict:
        """What becomes of a call that nothing matches."""
        return ALLOWED if self.default == "allow" else Deny(reason="no rule allows it", rule="default")

    def _select(self, agent: str, tool: str, effect: Effect, tenant: str) -> tuple[_Prepared, ...]:
        return tuple(
            found
            for found in self._rules
            if _named(found.rule.agents, agent)
            and _named(found.rule.tools, tool)
            and _named(found.rule.tenants, tenant)
            and (not found.rule.effects or effect in found.rule.effects)
        )


def _prepared(rule: Rule) -> _Prepared:
    judges = tuple(predicate(when.path, when.op, when.value) for when in rule.when)
    labels = tuple((name, _glob(pattern)) for name, pattern in rule.labels.items())
    return _Prepared(rule, _verdict(rule), frozenset(rule.taint), judges, labels)


def _verdict(rule: Rule) -> Verdict:
    if rule.decision == "allow":
        return Allow(rule=rule.name)
    if rule.approval is None:
        return Deny(reason=rule.reason, rule=rule.name)
    asked = rule.approval
    return RequireApproval(
        role=asked.role,
        quorum=asked.quorum,
        expires_seconds=asked.expires_hours * 3600.0,
        on_expiry=asked.on_expiry,
        escalate_to=asked.escalate_to,
        separate=asked.separate,
        reason=rule.reason,
        rule=rule.name,
    )


def _matches(found: _Prepared, request: PolicyRequest) -> bool:
    rule = found.rule
    if found.taint and found.taint.isdisjoint(request.taint):
        return False
    if rule.untainted and request.taint:
        return False
    for name, fits in found.labels:
        value = request.labels.get(name)
        if value is None or not fits(value):
            return False
    if rule.budget_below is not None and not _below(rule.budget_below, request.budget_left):
        return False
    unsure = False
    for judge in found.judges:
        verdict = judge(request.arguments)
        if verdict is False:
            return False
        unsure = unsure or verdict is None
    return not (unsure and rule.decision == "allow")


def _below(limit: BudgetBelow, left: BudgetLeft | None) -> bool:
    if left is None:
        return False
    pairs = ((limit.steps, left.steps), (limit.tokens, left.tokens), (limit.cost_usd, left.cost_usd))
    return any(bound is not None and rest is not None and rest < bound for bound, rest in pairs)


def _named(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or any(_glob(pattern)(name) for pattern in patterns)


def _glob(pattern: str) -> Callable[[str], bool]:
    """`*` stands for any characters; at most a few of them, so the cost of a match is bounded by the lengths."""
    if "*" not in pattern:
        return pattern.__eq__
    compiled = re.compile(".*".join(re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*")), re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None
