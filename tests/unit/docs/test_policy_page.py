"""docs/policy.md: its file is one that a gateway takes, its hook does what the page says, and its table of operators is complete."""

from __future__ import annotations

import re
import types

from tests.unit.docs.pages import blocks, text_of
from waypost.policies import Deny, PolicyRequest, RequireApproval, hooks_in
from waypost_core.policy import Policy
from waypost_core.policy.arguments import OPERATORS
from waypost_core.policy.rules import PolicyFile, Rule
from waypost_proto.values import Effect

PAGE = text_of("policy.md")


def asked(**fields: object) -> PolicyRequest:
    return PolicyRequest(**{"agent": "a", "tool": "pay-invoice", "effect": Effect.UNSAFE, **fields})  # type: ignore[arg-type]


def test_the_file_is_sound_and_means_what_its_rules_are_called() -> None:
    (text,) = blocks("policy.md", "toml")
    policy = Policy.parse(text)
    large = {"amount": 20_000, "country": "DE"}
    assert policy.judge(asked(arguments=large, taint=("web",))) == Deny(
        rule="nothing is paid after reading the web", reason="the agent has read something that anyone could have written"
    )
    verdict = policy.judge(asked(arguments=large))
    assert isinstance(verdict, RequireApproval)
    assert (verdict.quorum, verdict.on_expiry) == (2, "escalate")
    assert policy.judge(asked(arguments={**large, "country": "CH"})) is None


def test_the_hook_is_one() -> None:
    (code,) = blocks("policy.md", "python")
    module = types.ModuleType("of_the_page")
    exec(compile(code, "policy.md", "exec"), module.__dict__)
    (hook,) = hooks_in(module)
    assert isinstance(hook(asked(tool="book", arguments={"city": "Atlantis"})), Deny)
    assert isinstance(hook(asked(taint=("web",))), RequireApproval)
    assert hook(asked(taint=("web",), effect=Effect.READ)) is None


def test_operators_and_keys_are_complete() -> None:
    section = PAGE[PAGE.index("## Arguments") : PAGE.index("## In Python")]
    shown = {name for cells in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`([^`]+)`", cells)}
    assert set(OPERATORS) <= shown
    for name in (*Rule.__struct_fields__, *PolicyFile.__struct_fields__):
        assert name in PAGE, name
