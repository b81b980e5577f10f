"""One event as one line for people. Pure; a type that it does not know is shown by its name."""

from __future__ import annotations

from typing import Any

from msgspec import DecodeError, Raw, json

from waypost_cli.output import short_json
from waypost_proto.events import Event
from waypost_proto.task import format_time

_CALL = ("tool", "name", "child_agent")
_VALUES = ("result", "input", "payload", "value", "args")


def line_of(event: Event) -> str:
    """`12:00:04.123  17  tool_call_completed    core-banking 0:3 {"risk": 0.2}`."""
    clock = event.recorded_at.partition("T")[2][:12]
    return f"{clock}  {event.seq:>4}  {event.type:<26} {summary(event.data, day=event.recorded_at[:10])}".rstrip()


def summary(raw: Raw, *, day: str = "") -> str:
    """What matters of an event's data, in a few words. Times on `day` (`2026-11-22`) are given without their date."""
    try:
        data = json.decode(raw)
    except DecodeError:
        return short_json(raw)
    if not isinstance(data, dict):
        return short_json(raw)
    parts = [str(data[name]) for name in _CALL if data.get(name)]
    parts += _facts(data, day)
    error = data.get("error")
    if isinstance(error, dict):
        parts.append(f"{error.get('type')}: {error.get('message')}")
    parts += [short_json(json.encode(data[name])) for name in _VALUES if name in data]
    return "  ".join(" ".join(part.split()) for part in parts)


def _facts(data: dict[str, Any], day: str) -> list[str]:
    facts: list[str] = []
    if data.get("call_id"):
        facts.append(f"({data['call_id']})")
    if data.get("because"):
        facts.append(f"chosen by {data['because']}")
    if isinstance(model := data.get("model"), dict):
        facts.append(
            f"{model.get('answered_by') or model.get('model')}, {model.get('input_tokens', 0)} + {model.get('output_tokens', 0)} tokens"
        )
    if data.get("max_attempts"):
        facts.append(f"attempt {data.get('attempt')} of {data['max_attempts']}")
    for name, label in (("next_attempt_at", "next at"), ("expires_at", "until"), ("fire_at", "at"), ("reconcile_at", "asked at")):
        if isinstance(data.get(name), (int, float)):
            facts.append(f"{label} {format_time(data[name])[:19]}Z".replace(f" {day}T", " "))
    if data.get("role"):
        facts.append(f"by {data['role']}")
    if data.get("by"):
        facts.append(f"by {data['by']}")
    facts += [str(data[name]) for name in ("limit", "outcome", "reason", "message") if data.get(name)]
    return facts
