"""The bench of policies measures what it says: rules that are looked at and do not match. It times nothing."""

from __future__ import annotations

from tests.bench.policy import ARGS, file, measure
from waypost_core.policy import Policy, PolicyRequest
from waypost_proto.codec import decode
from waypost_proto.values import Effect


def test_a_hundred_rules_are_asked_and_none_matches() -> None:
    policy = Policy.parse(file())
    assert policy.rules == 100
    assert policy.needs_arguments("clerk", "pay", Effect.UNSAFE, "default")
    assert policy.judge(PolicyRequest(agent="clerk", tool="pay", effect=Effect.UNSAFE, arguments=decode(dict, ARGS))) is None
    assert len(measure(calls=1)) == 2
