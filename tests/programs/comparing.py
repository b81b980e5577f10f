"""Two lives of one program are the same: run by run, event by event. What may differ is taken away here, and only here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tests.programs.runs import Logged, Run
from tests.programs.world import World
from waypost_proto import events as ev
from waypost_proto.codec import encode

Line = dict[str, Any]


def story(run: Run) -> list[Line]:
    """A run's log without what says who did the work: marks, tracebacks, and events that only say that a worker has read.

    What is left is numbered anew; a child's parent span goes by the old numbers, and only its trace is kept.
    """
    kept = [event for event in run.log if not isinstance(event.data, ev.RunAdvanced)]
    new = {event.seq: number for number, event in enumerate(kept, 1)}
    return [_line(event, new) for event in kept]


def _line(event: Logged, new: dict[int, int]) -> Line:
    line: Line = msgspec.json.decode(encode(event.data))
    line.pop("mark", None)
    if line.get("parent") and line.get("trace"):
        line["trace"] = line["trace"].split("-")[1]
    if "seen" in line:
        line["seen"] = new.get(line["seen"], 0)
    for holder in (line, line.get("error") or {}):
        holder.pop("details", None)
    return {"type": event.type, "at": event.at, **line}


def loose(run: Run) -> tuple[list[str], set[str]]:
    """The same without order, and without what was asked for and given up in one breath; the child runs that this left out.

    For lives in which an advance was torn apart: what is lost of it comes again, but not a command together with its own
    cancellation, and of the states shown only the last counts.
    """
    lines = [line for line in story(run) if line["type"] != "state_changed"]
    asked = {line["call_id"]: line.get("seen", 0) for line in lines if line["type"] in _ASKED}
    breath = {line["call_id"] for line in lines if line["type"] in _GIVEN_UP and asked.get(line["call_id"]) == line.get("seen", 0) > 0}
    children = {line["child_run_id"] for line in lines if line.get("call_id") in breath and "child_run_id" in line}
    lines = [line for line in lines if line.get("call_id") not in breath]
    for line in lines:
        line.pop("seen", None)
    return sorted(repr(line) for line in lines), children


_ASKED = {"tool_call_requested", "child_requested", "timer_started", "signal_awaited"}
_GIVEN_UP = {"tool_call_cancelled", "tool_call_cancel_requested", "child_cancel_requested", "timer_cancelled", "signal_wait_cancelled"}


def differences(calm: World, troubled: World) -> str:
    """The first difference between two worlds, "" if there is none."""
    if troubled.troubles.torn:
        return _first(calm.root, [ending(calm.root)], [ending(troubled.root)])
    return _unordered(calm, troubled) if troubled.troubles.split else _ordered(calm, troubled)


def ending(run: Run) -> Line:
    """How a run ended, and with what; not when."""
    return {key: value for key, value in story(run)[-1].items() if key not in ("at", "seen")}


def _ordered(calm: World, troubled: World) -> str:
    if sorted(calm.runs) != sorted(troubled.runs):
        return f"runs {sorted(calm.runs)} against {sorted(troubled.runs)}"
    return next(filter(None, (_first(run, story(run), story(troubled.runs[run_id])) for run_id, run in calm.runs.items())), "")


def _unordered(calm: World, troubled: World) -> str:
    todo = [next(iter(calm.runs))]
    while todo:
        run_id = todo.pop()
        if run_id not in calm.runs and run_id not in troubled.runs:
            continue  # its parent ended in the same breath
        run, other = calm.runs[run_id], troubled.runs[run_id]
        (left, left_out), (right, _) = loose(run), loose(other)
        if found := _first(run, left, right):
            return found
        if run.state.shown != other.state.shown:
            return f"{run.agent} shows {run.state.shown!r} against {other.state.shown!r}"
        children = (event.data.child_run_id for event in run.log if isinstance(event.data, ev.ChildRequested))
        todo += [child for child in children if child not in left_out]
    return ""


def _first(run: Run, left: Sequence[object], right: Sequence[object]) -> str:
    for number in range(max(len(left), len(right))):
        one, two = (side[number] if number < len(side) else "nothing" for side in (left, right))
        if one != two:
            return f"{run.agent}, event {number + 1}:\n  calm:     {one}\n  troubled: {two}"
    return ""
