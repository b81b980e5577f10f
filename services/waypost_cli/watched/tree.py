"""The board as lines of a tree: runs, what they do and wait for, children below their call. Pure: the time is given."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from waypost_cli.watched.board import Board, spent
from waypost_core.chronicle import Chronicle, Entry
from waypost_core.chronicle.now import pending_of
from waypost_core.chronicle.sentences import cut, seconds, sentence
from waypost_core.chronicle.telling import told
from waypost_proto.ids import RunId
from waypost_proto.usage import usd_of

Tone = Literal["run", "done", "bad", "wait", "work", "dim", "hint"]
MARKS = {"done": "✓", "bad": "✗", "wait": "…", "work": "▸", "dim": "·", "run": "●", "hint": " "}
_PLAIN = {"done": "+", "bad": "x", "wait": "~", "work": ">", "dim": ".", "run": "*", "hint": " "}
_WIDE = 160
_STEPS = (40, 20, 12, 8, 5, 3, 2, 1, 0)
"""Entries that are shown of a run at most, until the tree fits."""
_FEW = 5
"""With no more entries than this, a child that has ended needs no lines of its own."""
_SLOW_SECONDS = 3.0
"""A worker that takes no longer to go on is not worth a word."""


class Line(NamedTuple):
    """`depth` is how deep it lies."""

    depth: int
    tone: Tone
    text: str

    def plain(self, *, ascii_only: bool = False) -> str:
        """As text without colours."""
        mark = (_PLAIN if ascii_only else MARKS)[self.tone]
        return f"{'  ' * self.depth}{mark} {self.text}"


def lines_of(board: Board, now: datetime, height: int) -> list[Line]:
    """All runs, in at most `height` lines: entries that have ended are left out first, oldest first."""
    lines: list[Line] = []
    for most in _STEPS:
        lines = _lines(board, now, most)
        if len(lines) <= height:
            return lines
    return [*lines[: max(height - 1, 1)], Line(0, "dim", f"and {len(lines) - height + 1} lines more: make the window larger")]


def _lines(board: Board, now: datetime, most: int) -> list[Line]:
    lines = [line for run_id in board.roots for line in _run(board, board.runs[run_id], now, 0, most)]
    if board.trouble:
        lines.append(Line(0, "bad", f"nothing arrives, trying again: {cut(board.trouble, _WIDE)}"))
    return lines


def _run(board: Board, tale: Chronicle, now: datetime, depth: int, most: int) -> list[Line]:
    lines = [_head(board, tale, now, depth)]
    if tale.start is None:
        return lines
    entries = list(told([entry for entry in tale.entries if entry.kind != "pause" or entry.ended is not None]))
    ended = [entry for entry in entries if entry.ended is not None]
    hidden = max(len(ended) - most, 0)
    dropped = {id(entry) for entry in ended[:hidden]}
    if hidden:
        lines.append(Line(depth + 1, "dim", f"{hidden} earlier"))
    awaited = {one.call_id: one for one in pending_of(tale) if one.call_id}
    for entry in entries:
        if id(entry) in dropped:
            continue
        lines.append(_entry(entry, now, depth + 1))
        one = awaited.get(entry.call_id)
        if entry.ended is None and one is not None and entry.kind != "child":
            lines.append(Line(depth + 2, "wait", f"waits for {one.what}{_until(one.until, now)}"))
            lines += [Line(depth + 3, "hint", f"{use}: {command}") for use, command in one.do]
        child = board.runs.get(RunId(entry.child_run)) if entry.child_run else None
        if child is not None and (entry.ended is None or most > _FEW):
            lines += _run(board, child, now, depth + 2, most)
    lines += _of_all(tale, now, depth + 1)
    return lines


def _head(board: Board, tale: Chronicle, now: datetime, depth: int) -> Line:
    if tale.start is None:
        return Line(depth, "run", f"run {tale.run_id}: not begun")
    tone: Tone = {"completed": "done", "failed": "bad", "cancelled": "bad", "paused": "wait"}.get(tale.status, "run")  # type: ignore[assignment]
    status = tale.status if tale.status != "open" else "waiting" if tale.open and not tale.running and not tale.unread else "running"
    took = seconds(((tale.ended or now) - tale.began).total_seconds())
    calls, tokens, cost = spent(board, tale)
    parts = [f"{tale.agent} {tale.run_id}: {status}", took, f"{tale.totals.tool_calls} tool calls" if tale.totals.tool_calls else ""]
    parts += [f"{calls} model calls, {tokens} tokens" if calls or tokens else "", f"{usd_of(cost):g} USD" if cost else ""]
    return Line(depth, tone, ", ".join(part for part in parts if part))


def _entry(entry: Entry, now: datetime, depth: int) -> Line:
    text = cut(sentence(entry), _WIDE)
    if entry.kind in ("note", "checkpoint"):
        return Line(depth, "dim", text)
    took = seconds(((entry.ended or now) - entry.began).total_seconds())
    if entry.ended is None:
        return Line(depth, "work", f"{text} ({took})")
    tries = f", {len(entry.attempts)} attempts" if len(entry.attempts) > 1 else ""
    by = f" by {entry.by or entry.via}" if entry.outcome in ("received", "answered", "resumed") and (entry.by or entry.via) else ""
    value = f": {entry.error}" if entry.error else f": {entry.got}" if entry.got and entry.kind != "model" else ""
    bad = entry.outcome in ("failed", "denied", "dropped", "unanswered")
    return Line(depth, "bad" if bad else "done", cut(f"{text} {entry.outcome}{by} after {took}{tries}{value}", _WIDE + 80))


def _of_all(tale: Chronicle, now: datetime, depth: int) -> list[Line]:
    """What the run as a whole waits for, and how it ended."""
    lines: list[Line] = []
    for one in pending_of(tale):
        if not one.call_id and (tale.pause is not None or (now - one.since).total_seconds() >= _SLOW_SECONDS):
            lines.append(Line(depth, "wait", f"waits for {one.what}{_until(one.until, now)}"))
            lines += [Line(depth + 1, "hint", f"{use}: {command}") for use, command in one.do]
    if tale.ended is not None and tale.status != "completed":
        lines.append(Line(depth, "bad", cut(f"{tale.outcome}{f': {tale.error}' if tale.error else ''}", _WIDE + 80)))
    return lines


def _until(until: datetime | None, now: datetime) -> str:
    """A countdown."""
    if until is None:
        return ""
    left = (until - now).total_seconds()
    return f", {seconds(left)} left" if left > 0 else ", any moment now"
