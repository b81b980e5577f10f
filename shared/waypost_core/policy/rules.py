"""What a policy file says, as data; what is wrong with one is told with its line. Owns the form of the file, not what follows from it.

version = "2026-12-01"            # for people; the version in events is this and a digest of the whole file
default = "allow"                 # or "deny": what no rule matches

[[rules]]
name = "large-payments"
decision = "require_approval"     # "allow", "deny"
reason = "payments above 10,000 need two officers"
tools = ["pay-*"]                 # also agents, tenants, effects, taint, labels, untainted, budget_below
when = [{ path = "amount", op = ">", value = 10000 }]
approval = { role = "officer", quorum = 2, expires_hours = 24, on_expiry = "escalate" }
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from waypost_core.policy.arguments import BadPredicate, predicate
from waypost_core.policy.patterns import BadPattern
from waypost_proto.errors import BadInput
from waypost_proto.taint import check_label
from waypost_proto.values import AtLeastOne, Effect, Positive

MAX_RULES = 1_000
MAX_FILE_CHARS = 1024 * 1024
DIGEST_CHARS = 12

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._ -]{0,79}")
MAX_STARS = 3
"""In one name: each may stand for anything, and together they take time."""

_WILDCARD = re.compile(r"[a-z0-9*._@-]{1,80}", re.IGNORECASE)
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")
_RULE_PATH = re.compile(r"\$\.rules\[(\d+)\](?:\.([\w]+))?")


class PolicyFault(BadInput):
    """The policy file cannot be used. `line` is where, counted from 1; 0 when it is nowhere in particular."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """A predicate on the arguments; see `arguments`."""

    path: str
    op: str
    value: Any


class BudgetBelow(Struct, frozen=True, forbid_unknown_fields=True):
    """Matches a run that has less than this left of any of them; what is not limited is not below anything."""

    steps: AtLeastOne | None = None
    tokens: AtLeastOne | None = None
    cost_usd: Positive | None = None


class ApprovalRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Who must approve. `separate`: who started the run may not."""

    role: Annotated[str, Meta(min_length=1, max_length=256)]
    quorum: AtLeastOne = 1
    expires_hours: Positive = 48.0
    on_expiry: Literal["deny", "escalate"] = "deny"
    escalate_to: str = ""
    separate: bool = True


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule: it matches when everything that it names matches. Names may hold `*`."""

    name: str
    decision: Literal["allow", "deny", "require_approval"]
    reason: str = ""
    agents: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    tenants: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    taint: tuple[str, ...] = ()
    untainted: bool = False
    budget_below: BudgetBelow | None = None
    when: tuple[When, ...] = ()
    approval: ApprovalRule | None = None


class PolicyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file."""

    version: str = ""
    default: Literal["allow", "deny"] = "allow"
    rules: tuple[Rule, ...] = ()


def parse_policy(text: str) -> tuple[PolicyFile, str]:
    """The file and its version: what it says of itself, and a digest of what it means (comments and spaces do not count).

    Raises `PolicyFault` with the line.
    """
    if len(text) > MAX_FILE_CHARS:
        raise PolicyFault(f"the file has {len(text)} characters, the limit is {MAX_FILE_CHARS}")
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        match = _AT_LINE.search(str(error))
        line = int(match[1]) if match is not None and match[1] else text.count("\n") + 1
        raise PolicyFault(f"not TOML: {_AT_LINE.sub('', str(error)).strip()}", line) from error
    lines = _lines_of_rules(text)
    try:
        policy = msgspec.convert(raw, PolicyFile)
    except msgspec.ValidationError as error:
        raise PolicyFault(str(error), _line_of(str(error), text, lines)) from error
    if len(policy.rules) > MAX_RULES:
        raise PolicyFault(f"{len(policy.rules)} rules, the limit is {MAX_RULES}", lines[MAX_RULES] if len(lines) > MAX_RULES else 0)
    seen: set[str] = set()
    for index, rule in enumerate(policy.rules):
        line = lines[index] if index < len(lines) else 0
        if rule.name in seen:
            raise PolicyFault(f"a second rule is named {rule.name!r}: events name rules, so each needs a name of its own", line)
        seen.add(rule.name)
        _check(rule, line)
    digest = hashlib.sha256(msgspec.json.encode(policy, order="deterministic")).hexdigest()[:DIGEST_CHARS]
    return policy, f"{policy.version}@{digest}" if policy.version else digest


def _check(rule: Rule, line: int) -> None:
    """What the types do not say."""
    if _NAME.fullmatch(rule.name) is None:
        raise PolicyFault(f"name {rule.name!r}: use 1 to 80 letters, digits, spaces, '.', '_' and '-'", line)
    if (rule.decision == "require_approval") != (rule.approval is not None):
        need = "needs approval = { role = … }" if rule.approval is None else f"has an approval, but its decision is {rule.decision!r}"
        raise PolicyFault(f"rule {rule.name!r} {need}", line)
    for name in (*rule.agents, *rule.tools, *rule.tenants):
        if _WILDCARD.fullmatch(name) is None:
            raise PolicyFault(f"rule {rule.name!r}: {name!r} is not a name; '*' stands for any characters", line)
    for pattern in (*rule.agents, *rule.tools, *rule.tenants, *rule.labels.values()):
        if pattern.count("*") > MAX_STARS:
            raise PolicyFault(f"rule {rule.name!r}: {pattern!r} has more than {MAX_STARS} '*'", line)
    if rule.taint and rule.untainted:
        raise PolicyFault(f"rule {rule.name!r} matches nothing: it asks for taint and for none", line)
    try:
        for label in rule.taint:
            check_label(label)
        for when in rule.when:
            predicate(when.path, when.op, when.value)
    except (BadInput, BadPredicate, BadPattern) as error:
        raise PolicyFault(f"rule {rule.name!r}: {error}", line) from error


def _lines_of_rules(text: str) -> list[int]:
    """The line of each `[[rules]]` header, in order."""
    return [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*rules\s*\]\]", line)]


def _line_of(message: str, text: str, lines: list[int]) -> int:
    """Where a value that does not fit stands: the key within its rule, the rule, or the key at the top."""
    match = _RULE_PATH.search(message)
    rows = text.splitlines()
    key = re.search(r"unknown field `(\w+)`", message) or re.search(r"\$\.(\w+)`?$", message)
    if match is None:
        names = [key[1]] if key is not None else []
        first, last = 1, len(rows)
    else:
        index = int(match[1])
        if index >= len(lines):
            return 0
        first, last = lines[index], lines[index + 1] - 1 if index + 1 < len(lines) else len(rows)
        names = [name for name in (key[1] if key is not None else None, match[2]) if name]
    for name in names:
        for number in range(first, last + 1):
            if re.match(rf"\s*{name}\s*=", rows[number - 1]) or re.search(rf"[{{,]\s*{name}\s*=", rows[number - 1]):
                return number
    return first if match is not None else 0


__all__ = ["ApprovalRule", "BudgetBelow", "PolicyFault", "PolicyFile", "Rule", "When", "parse_policy"]
