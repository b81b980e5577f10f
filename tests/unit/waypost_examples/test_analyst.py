"""The desk's analyst as a reasoning agent: offline it answers by the rules; what it is told holds every rule."""

from __future__ import annotations

import pytest

from tests.unit.waypost.reasoning.rig import Rig
from waypost.models.scripted import ScriptedModel
from waypost_examples import chosen_model
from waypost_examples.compliance import rules
from waypost_examples.compliance.agents import risk_analyst
from waypost_examples.compliance.cases import read_cases, shipped
from waypost_examples.compliance.legacy.book import book_of
from waypost_examples.compliance.legacy.sanctions import load_list, screen
from waypost_examples.compliance.model import Assessment, Evidence
from waypost_proto.codec import decode, encode


@pytest.mark.skipif(not isinstance(risk_analyst.plan.model, ScriptedModel), reason="a key is set: it asks a provider")
def test_it_answers_by_the_rules() -> None:
    for case in read_cases(shipped()).cases:
        entry = book_of([case.account])[case.account]
        hits = [hit for name in case.counterparties for hit in screen(name, load_list())]
        evidence = Evidence(case=case, account=entry.account, customer=entry.customer, hits=hits)
        rig = Rig(risk_analyst, evidence)
        rig.think()
        assert decode(Assessment, encode(rig.result)) == rules.assess(evidence)


def test_every_rule_is_in_the_book() -> None:
    for rule in ("sanctions", "structuring", "country", "unusual", "ownership", "new_account", "kyc_unverified", "kyc_outdated", "exposed"):
        assert f"\n{rule} " in f"\n{rules.BOOK}"
    assert rules.BOOK in str(risk_analyst.plan.instructions)


@pytest.mark.parametrize(
    ("environment", "provider"),
    [
        ({}, "scripted"),
        ({"OPENAI_API_KEY": "k"}, "openai"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic"),
        ({"OPENAI_API_KEY": "k", "WAYPOST_EXAMPLES_OFFLINE": "1"}, "scripted"),
        ({"OPENAI_API_KEY": "k", "WAYPOST_EXAMPLES_MODEL": "other"}, "openai"),
    ],
)
def test_a_key_takes_the_examples_online(environment: dict[str, str], provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    model = chosen_model.chosen_model(["x"], "script")
    assert model.provider == provider
    if "WAYPOST_EXAMPLES_MODEL" in environment:
        assert model.name == "other"
