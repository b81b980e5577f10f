"""The words of one entry: a headline, and what there is to add to it. Shared by lines, Markdown and the live tree."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from waypost_core.chronicle.entries import Attempt, Entry, Gate, Kind, Wait

_CUT = 400
"""Characters of a value in text; JSON has all that the log has."""
_WAITED = {
    "retry": "to try again",
    "budget": "for budget",
    "host": "for a gateway that hosts it",
    "breaker": "while the tool's breaker was open",
    "busy": "because the tool was at its rate",
    "doubt": "in doubt",
}


def sentence(entry: Entry) -> str:
    """The headline: what was done, with what."""
    return _WORDS[entry.kind](entry)


def _model(entry: Entry) -> str:
    said = f" said: “{cut(entry.text)}”" if entry.text else " was asked"
    return f"Model {entry.name} ({entry.call_id}){said}"


def _tool(entry: Entry) -> str:
    kind = f", {_ARTICLES[entry.effect]}" if entry.effect in _ARTICLES else ""
    return f"Tool {entry.name} ({entry.call_id}{kind}{_chosen(entry)}){_with(entry)}"


def _child(entry: Entry) -> str:
    return f"Child run {entry.child_run} of agent {entry.name} ({entry.call_id}{_chosen(entry)}){_with(entry)}"


def _chosen(entry: Entry) -> str:
    return f", chosen by {entry.because}" if entry.because else ""


def _with(entry: Entry) -> str:
    return f" with {cut(entry.given)}" if entry.given else ""


def _timer(entry: Entry) -> str:
    return f"Timer ({entry.call_id}){f' until {clock(entry.until)}' if entry.until is not None else ''}"


def _question(entry: Entry) -> str:
    return f"Asked {entry.name} ({entry.call_id}){f': “{cut(entry.text)}”' if entry.text else ''}"


def _pause(entry: Entry) -> str:
    return f"Paused{f' by {entry.by}' if entry.by else ''}{f': {entry.text}' if entry.text else ''}"


def _checkpoint(entry: Entry) -> str:
    return f"The graph{f' of {entry.name}' if entry.name else ''} saved its state: {entry.text}"


def _note(entry: Entry) -> str:
    given = f": {cut(entry.given)}" if entry.given else ""
    return f"{entry.text[:1].upper()}{entry.text[1:]}{given}{f' (by {entry.by})' if entry.by else ''}"


_WORDS: Final[dict[Kind, Callable[[Entry], str]]] = {
    "model": _model,
    "step": lambda entry: f"Local step {entry.name} ({entry.call_id})",
    "tool": _tool,
    "child": _child,
    "timer": _timer,
    "signal": lambda entry: f"Waited for signal {entry.name!r} ({entry.call_id})",
    "question": _question,
    "pause": _pause,
    "checkpoint": _checkpoint,
    "note": _note,
}
_ARTICLES = {"read": "a read", "idempotent": "idempotent", "unsafe": "unsafe"}


def details(entry: Entry, now: datetime) -> list[str]:
    """What there is to add, in the order in which it happened; `now` ends what has not ended."""
    lines = [f"tried first: {one}" for one in entry.tried]
    happened = [(gate.began, _gate(gate, now)) for gate in entry.gates]
    happened += [(attempt.began, _attempt(attempt, now)) for attempt in entry.attempts if _telling(entry, attempt)]
    happened += [(wait.began, _wait(wait, now)) for wait in entry.waits]
    lines += [line for _, line in sorted(happened, key=lambda pair: pair[0])]
    lines += entry.more
    if entry.unwanted and entry.ended is None:
        lines.append("the agent's code no longer waits for it; what has started is still awaited")
    return [*lines, *filter(None, [_end(entry)])]


def _telling(entry: Entry, attempt: Attempt) -> bool:
    """Whether an attempt says more than the call itself does: a single one that answered does not."""
    return len(entry.attempts) > 1 or attempt.outcome not in ("answered", "failed") or attempt.mode == "reconcile"


def _attempt(attempt: Attempt, now: datetime) -> str:
    what = "asked its reconcile hook whether it took effect" if attempt.mode == "reconcile" else f"attempt {attempt.number}"
    took = seconds(((attempt.ended or now) - attempt.began).total_seconds())
    error = f": {attempt.error}" if attempt.error else ""
    if attempt.ended is None:
        return f"{what}, under way for {took}"
    if attempt.outcome == "in doubt":
        return f"{what} is in doubt after {took}{error}"
    if attempt.outcome == "not started":
        return f"{what} was not started"
    return f"{what}: {attempt.outcome} after {took}{error}"


def _wait(wait: Wait, now: datetime) -> str:
    why = f" ({wait.why})" if wait.why else ""
    if wait.ended is None:
        until = f", until {clock(wait.until)}" if wait.until is not None else ""
        return f"waits {_WAITED[wait.what]}{why}, for {seconds((now - wait.began).total_seconds())} by now{until}"
    return f"waited {seconds((wait.ended - wait.began).total_seconds())} {_WAITED[wait.what]}{why}"


def _gate(gate: Gate, now: datetime) -> str:
    asker = f"rule {gate.rule!r} of policy {gate.policy_version}" if gate.rule else "the agent's code"
    of = f"{gate.quorum} people with role {gate.role}" if gate.quorum > 1 else f"role {gate.role}"
    asked = f"{asker} asked {of} to approve{f' ({gate.reason})' if gate.reason else ''}, {gate.approval_id}"
    waited = seconds(((gate.ended or now) - gate.began).total_seconds())
    if not gate.decision:
        some = f"; approved so far by {', '.join(gate.given_by)}" if gate.given_by else ""
        return f"{asked}: not decided after {waited}{some}, expires {clock(gate.until)}"
    by = f" by {gate.by}" if gate.by else ""
    return f"{asked}: {gate.decision}{by} at {clock(gate.ended)}, after {waited}{f': “{gate.why}”' if gate.why else ''}"


def _end(entry: Entry) -> str:
    """How it ended, how long it took and what it cost."""
    if entry.kind in ("note", "checkpoint") or entry.ended is None:
        return ""
    parts = [seconds((entry.ended - entry.began).total_seconds())]
    if entry.input_tokens or entry.output_tokens:
        parts.append(f"{entry.input_tokens} + {counted(entry.output_tokens, 'token')}")
    if entry.cost_usd:
        parts.append(f"{entry.cost_usd:g} USD")
    by = f" by {entry.by}" if entry.by and entry.kind != "pause" else ""
    said = {
        "resumed": f"resumed{f' by {entry.via}' if entry.via else ''}",
        "dropped": "it was still open when the run ended",
        "ledger": "completed: the gateway had its result in the ledger",
        "reconcile": "completed: it had taken effect, says its reconcile hook",
        "person": f"completed: it had taken effect, says {entry.by}",
    }
    words = (
        said.get(entry.via if entry.kind == "tool" and entry.outcome == "completed" else "")
        or said.get(entry.outcome)
        or f"{entry.outcome}{by}"
    )
    value = f": {entry.error}" if entry.error else f": {cut(entry.got)}" if entry.got and not (entry.kind == "model" and entry.text) else ""
    return f"{words} after {', '.join(parts)}{value}"


def cut(text: str, limit: int = _CUT) -> str:
    """At most `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def clock(at: datetime | None) -> str:
    """A time with its day."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def counted(number: int, what: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def seconds(amount: float) -> str:
    """A duration as people say it: `0.12 s`, `3.4 s`, `12 min`, `2.5 h`, `3.1 d`."""
    if amount < 1:
        return f"{max(amount, 0.0):.2f} s"
    if amount < 120:
        return f"{amount:.1f} s"
    if amount < 7_200:
        return f"{amount / 60:.0f} min"
    return f"{amount / 3_600:.1f} h" if amount < 172_800 else f"{amount / 86_400:.1f} d"
