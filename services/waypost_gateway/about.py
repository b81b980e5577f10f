"""What every log line about a tool call says: which run, agent, step and tool. The trace id follows from the run."""

from __future__ import annotations

from waypost_proto.tools import ToolCall


def about(call: ToolCall | None) -> dict[str, str]:
    """Fields for a log call; none where the message was no call."""
    return {} if call is None else {"run_id": call.run_id, "agent": call.agent, "step": call.call_id, "tool": call.tool}
