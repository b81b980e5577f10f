"""What a model answered, as the GenAI conventions want it."""

from __future__ import annotations

import json

import pytest

from waypost_core.tracing.said import output_messages


def test_text_and_tool_calls_are_parts() -> None:
    answer = {
        "message": {
            "role": "assistant",
            "text": "I look first.",
            "tool_uses": [{"id": "u1", "name": "look", "arguments": '{"account": "a-1"}'}, {"name": "odd", "arguments": "{no json"}],
        },
        "finish": "tool_calls",
        "usage": {"input_tokens": 1},
        "heard": 1,
    }
    assert json.loads(output_messages(json.dumps(answer).encode(), "")) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "I look first."},
                {"type": "tool_call", "id": "u1", "name": "look", "arguments": {"account": "a-1"}},
                {"type": "tool_call", "id": None, "name": "odd", "arguments": "{no json"},
            ],
            "finish_reason": "tool_call",
        }
    ]


@pytest.mark.parametrize(
    ("result", "said"), [(b'"All is well."', "All is well."), (b'{"risk":"low"}', '{"risk":"low"}'), (b"\xff", "\ufffd")]
)
def test_what_an_agents_code_made_of_an_answer_is_its_text(result: bytes, said: str) -> None:
    (message,) = json.loads(output_messages(result, "length"))
    assert message == {"role": "assistant", "parts": [{"type": "text", "content": said}], "finish_reason": "length"}
