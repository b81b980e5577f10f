"""What a run waits for now, and what one can do about it, as commands. From the fold alone. Part of `fold`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost_core.chronicle.entries import Entry, Pending, Wait

if TYPE_CHECKING:
    from waypost_core.chronicle.fold import Chronicle

_KEPT = 50
"""Pending things that are listed; of more, the first."""
_RAISE = {
    "max_steps": "--max-steps +20",
    "max_tokens": "--max-tokens +10000",
    "max_cost_usd": "--max-cost +1",
    "max_seconds": "--max-seconds +3600",
}


def pending_of(tale: Chronicle) -> list[Pending]:
    """The most urgent first: what a person must do, then what ends by itself."""
    if tale.ended is not None:
        return []
    found = [] if tale.pause is None else [_paused(tale, tale.pause)]
    waits = [_of_entry(tale, entry) for entry in tale.open.values() if entry is not tale.pause]
    found += sorted((one for one in waits if one is not None), key=lambda one: not one.do)
    if tale.unread and tale.pause is None:
        host = f"a worker for agent {tale.agent} to take what is new to its code"
        do = [("see which workers host it", "waypost agents"), ("host it", "waypost worker MODULE")]
        found.append(Pending(what=host, since=tale.unread_since, do=do))
    if not found and tale.running:
        found.append(Pending(what=f"{tale.running} local steps that a worker is doing", since=tale.last))
    return found[:_KEPT]


def _paused(tale: Chronicle, pause: Entry) -> Pending:
    resume = f"waypost runs resume {tale.run_id}"
    do = [("go on as it is", resume)]
    for limit, option in _RAISE.items():
        if limit in pause.text:
            do = [("go on with a higher limit", f"{resume} {option}")]
    if "no longer does what the log says" in pause.text:
        do = [
            ("go on with code that agrees with the log: deploy the build that began the run, then", resume),
            ("or see where they part", f"waypost runs events {tale.run_id}"),
        ]
    elif "circles" in pause.text:
        do = [("tell the agent what to do differently", f"{resume} --instruction TEXT")]
    do.append(("end it", f"waypost runs cancel {tale.run_id}"))
    return Pending(
        what=f"somebody to resume it (paused: {pause.text})" if pause.text else "somebody to resume it", since=pause.began, do=do
    )


def _of_entry(tale: Chronicle, entry: Entry) -> Pending | None:
    if entry.unwanted and entry.kind != "tool":
        return None
    if entry.kind == "tool":
        return _of_tool(tale, entry)
    if entry.waits and entry.waits[-1].ended is None:
        return _for_budget(entry)
    match entry.kind:
        case "child":
            do = [("see what it waits for", f"waypost runs explain {entry.child_run}")]
            return Pending(what=f"child run {entry.child_run} of agent {entry.name}", since=entry.began, call_id=entry.call_id, do=do)
        case "timer":
            return Pending(what="a timer", since=entry.began, until=entry.until, call_id=entry.call_id)
        case "signal":
            do = [("hand it in", f"waypost runs signal {tale.run_id} {entry.name} --payload JSON")]
            return Pending(what=f"signal {entry.name!r}", since=entry.began, call_id=entry.call_id, do=do)
        case "question":
            do = [("answer it", f"waypost approvals answer {entry.via} ANSWER --role {entry.name}")]
            return Pending(what=f"an answer by {entry.name}", since=entry.began, until=entry.until, call_id=entry.call_id, do=do)
        case _:
            return Pending(what=f"local step {entry.name}", since=entry.began, call_id=entry.call_id)


def _of_tool(tale: Chronicle, entry: Entry) -> Pending:
    gate = entry.gates[-1] if entry.gates else None
    if gate is not None and not gate.decision:
        many = f"{gate.quorum - len(gate.given_by)} more of {gate.role}" if gate.quorum > 1 else gate.role
        do = [
            ("allow exactly this call", f"waypost approvals approve {gate.approval_id} --role {gate.role}"),
            ("refuse it", f"waypost approvals deny {gate.approval_id} --role {gate.role}"),
        ]
        return Pending(what=f"approval of {entry.name} by {many}", since=gate.began, until=gate.until, call_id=entry.call_id, do=do)
    if entry.waits and entry.waits[-1].ended is None:
        return _of_wait(tale, entry, entry.waits[-1])
    number = entry.attempts[-1].number if entry.attempts else 1
    asked = bool(entry.attempts) and entry.attempts[-1].mode == "reconcile"
    what = f"the reconcile hook of {entry.name}" if asked else f"{entry.name}, attempt {number}"
    return Pending(what=what, since=entry.attempts[-1].began if entry.attempts else entry.began, call_id=entry.call_id)


def _of_wait(tale: Chronicle, entry: Entry, wait: Wait) -> Pending:
    match wait.what:
        case "budget":
            return _for_budget(entry)
        case "host":
            do = [("see which gateways there are", "waypost tools"), ("host it", "waypost gateway MODULE")]
            return Pending(what=f"a gateway for tool {entry.name}", since=wait.began, call_id=entry.call_id, do=do)
        case "doubt" if wait.until is None:
            resolve = f"waypost runs resolve {tale.run_id} {entry.call_id}"
            do = [
                (
                    f"find out at its receiver, by the key {tale.run_id}/{entry.call_id}; if it took effect",
                    f"{resolve} completed --result JSON",
                ),
                ("if it surely did not: it is tried again", f"{resolve} not_done"),
                ("give it up", f"{resolve} failed"),
            ]
            what = f"somebody to settle {entry.name}, which is in doubt: it may or may not have taken effect"
            return Pending(what=what, since=wait.began, call_id=entry.call_id, do=do)
        case "doubt":
            return Pending(what=f"the reconcile hook of {entry.name}, in doubt", since=wait.began, until=wait.until, call_id=entry.call_id)
        case "retry":
            return Pending(what=f"{entry.name}: {wait.why}", since=wait.began, until=wait.until, call_id=entry.call_id)
        case _:
            why = "the tool's breaker is open" if wait.what == "breaker" else "the tool is at its rate"
            return Pending(what=f"{entry.name}: {why}", since=wait.began, until=wait.until, call_id=entry.call_id)


def _for_budget(entry: Entry) -> Pending:
    return Pending(what=f"budget for {entry.name or entry.kind}", since=entry.waits[-1].began, call_id=entry.call_id)
