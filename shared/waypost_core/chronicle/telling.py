"""An account as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby

from waypost_core.chronicle.entries import Account, Entry, Pending
from waypost_core.chronicle.sentences import clock, counted, cut, details, seconds, sentence

_INDENT = " " * 12


def tell(account: Account, now: datetime) -> list[str]:
    """The whole account. `now` is what "by now" means for what has not ended."""
    lines = [headline(account, now), "", "Asked"]
    lines += [f"  {name:<9} {value}" for name, value in asked(account)]
    lines += ["", "What happened"]
    for entry in told(account.entries):
        lines.append(f"{_since(entry, account):>10}  {sentence(entry)}")
        lines += [f"{_INDENT}  {line}" for line in details(entry, now)]
    lines += ["", "Why it ended" if account.ended_at is not None else "Now"]
    lines += [f"  {line}" for line in ending(account)]
    for one in account.pending:
        lines += [f"  {waits_for(one, now)}", *(f"      {use}: {command}" for use, command in one.do)]
    lines += ["", "Used", *(f"  {line}" for line in used(account))]
    return lines


def headline(account: Account, now: datetime) -> str:
    """`Run … of agent desk: completed after 3.2 s`."""
    build = f" (build {account.build})" if account.build else ""
    took = seconds(((account.ended_at or now) - account.started_at).total_seconds())
    state = f"{account.status} after {took}" if account.ended_at is not None else f"{account.status}, {took} old"
    return f"Run {account.run_id} of agent {account.agent}{build}: {state}"


def asked(account: Account) -> list[tuple[str, str]]:
    """What was asked for, by whom, within which limits; what is not there is left out."""
    budget = account.budget
    limits = [f"{name} {value:g}" for name in budget.__struct_fields__ if (value := getattr(budget, name)) is not None]
    parent = f"run {account.parent_run} of agent {account.parent_agent}" if account.parent_run else ""
    facts = [
        ("by", account.started_by or ("" if parent else "nobody knows whom: the request was not authenticated")),
        ("parent", parent),
        ("at", clock(account.started_at)),
        ("input", cut(account.input)),
        ("limits", ", ".join(limits)),
        ("deadline", clock(account.deadline)),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(account.labels.items()))),
        ("key", account.idempotency_key),
    ]
    return [(name, value) for name, value in facts if value]


def ending(account: Account) -> list[str]:
    """How it ended, or that it has not."""
    if account.ended_at is None:
        if account.pending:
            return []
        return ["its worker works on it: nothing is awaited from outside"]
    lines = [f"{account.status} at {clock(account.ended_at)}: {account.outcome}"]
    lines += [f"result {cut(account.result, 2_000)}"] if account.result else []
    return [*lines, f"error {account.error}"] if account.error else lines


def waits_for(one: Pending, now: datetime) -> str:
    """A line on what is awaited."""
    until = f", until {clock(one.until)}" if one.until is not None else ""
    return f"waits for {one.what} (for {seconds((now - one.since).total_seconds())}{until})"


def used(account: Account) -> list[str]:
    """What it took."""
    totals = account.totals
    lines = []
    if totals.model_calls:
        lines.append(f"{counted(totals.model_calls, 'model call')}, {totals.input_tokens} + {counted(totals.output_tokens, 'token')}")
    failed = f", {counted(totals.attempts_failed, 'attempt')} failed" if totals.attempts_failed else ""
    lines += [f"{counted(totals.tool_calls, 'tool call')}{failed}"] if totals.tool_calls else []
    children = counted(totals.children, "child run")
    if totals.children_tokens or totals.children_cost_usd:
        children += f", which used {counted(totals.children_tokens, 'token')}, {totals.children_cost_usd:g} USD"
    lines += [children] if totals.children else []
    whole = totals.cost_usd + totals.children_cost_usd
    lines += [f"{whole:g} USD in all"] if whole else []
    return [*lines, counted(totals.events, "event")]


def told(entries: list[Entry]) -> Iterator[Entry]:
    """The entries in the order in which they began; of checkpoints in a row only the last, with their number."""
    ordered = sorted(entries, key=lambda entry: entry.began)  # stable: the log's order within a moment
    for kind, group in groupby(ordered, key=lambda entry: entry.kind if entry.kind == "checkpoint" else entry.seq):
        several = list(group)
        if kind == "checkpoint" and len(several) > 1:
            last = several[-1]
            yield Entry(
                kind="checkpoint",
                seq=last.seq,
                began=several[0].began,
                ended=last.ended,
                outcome="completed",
                name=last.name,
                text=f"{last.text}, {len(several)} times",
            )
        else:
            yield from several


def _since(entry: Entry, account: Account) -> str:
    return f"+{seconds((entry.began - account.started_at).total_seconds())}"
