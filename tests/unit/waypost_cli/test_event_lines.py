"""Events of a reasoning run as lines for people."""

from __future__ import annotations

from msgspec import Raw

from waypost_cli.event_lines import summary
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.models import ModelCall


def test_a_model_call_says_which_model_and_how_much() -> None:
    model = ModelCall(model="gpt-5-mini", provider="openai", input_tokens=120, output_tokens=8)
    line = summary(Raw(encode(ev.StepCompleted(call_id="m1", name="think", at=1.0, result=Raw(b'"x"'), model=model))))
    assert line == 'think  (m1)  gpt-5-mini, 120 + 8 tokens  "x"'


def test_a_call_says_who_chose_it() -> None:
    event = ev.ToolCallRequested(call_id="m1.2", tool="look", args=Raw(b"{}"), args_digest="d", idempotency_key="k", because="m1")
    assert summary(Raw(encode(event))) == "look  (m1.2)  chosen by m1  {}"
