"""A `Commit` as the arrays that `waypost_commit`, `waypost_commit_rows` and `waypost_commit_calls` take, one per column.

This runs for every batch: rows become columns by `attrgetter` and `zip`, without a Python loop over values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from waypost_io.store.batch import homes, last_of_each, positions_of
from waypost_io.store.chunks import chunks_of
from waypost_io.store.ports import ApprovalRow, Commit, InboxRow, PermitRow, RunRow
from waypost_proto.codec import encode
from waypost_proto.errors import BadMessage
from waypost_proto.ids import CallId, RunId

Columns = list[Sequence[Any]]

_EVENT = attrgetter("run_id", "seq", "type", "partition", "position", "recorded_at", "body", "cause")
_RUN = attrgetter(
    *(
        "run_id",
        "seq",
        "created_at",
        "updated_at",
        "deadline_at",
        "parent",
        "partition",
        "state_version",
        "open",
        "held",
        "tenant",
        "agent",
    ),
    *("build", "status", "worker", "correlation_id", "idempotency_key", "labels", "state", "outcome"),
)
_LABELS = 17
"""Index of `labels` in `_RUN`."""
_TIMER = attrgetter("run_id", "timer_id", "partition", "due_at")
_APPROVAL = attrgetter(
    *("approval_id", "run_id", "agent", "call_id", "tool", "args", "args_digest", "role", "reason", "tenant", "requested_at", "expires_at"),
    *("state", "decided_by", "decided_at", "decision_reason"),
)
_DETAILS = attrgetter("approval_id", "run_id", "policy_version", "details")
_INBOX = attrgetter("message_id", "run_id", "partition", "subject", "body")
_NOTICE = attrgetter("notice_id", "run_id", "agent", "at", "body")
_PERMIT = attrgetter("run_id", "call_id", "tool", "attempt", "args_digest", "effect", "idempotency_key", "approval_id", "force")


def is_plain(batch: Commit) -> bool:
    """Whether leases, events and runs are all it has."""
    return not (
        batch.set_timers
        or batch.clear_timers
        or batch.permits
        or batch.revoke_runs
        or batch.revoke_calls
        or batch.approvals
        or batch.inbox_add
        or batch.inbox_remove
        or batch.blobs
        or batch.notices
    )


def of_commit(batch: Commit) -> Columns:
    """Arguments of `waypost_commit`. Raises `ContractError` for rows of partitions without a lease."""
    firsts, lasts = positions_of(batch)
    partitions, epochs, _, published = _columns(tuple, batch.leases, 4)
    runs: Sequence[RunRow] = last_of_each(batch.runs, attrgetter("run_id"))
    run_columns = _columns(_RUN, runs, 20)
    run_columns[_LABELS] = [labels_json(labels) if labels else "{}" for labels in run_columns[_LABELS]]
    leases: Columns = [batch.owner, partitions, epochs, [*map(firsts.get, partitions)], [*map(lasts.get, partitions)], published]
    return leases + _columns(_EVENT, batch.events, 8) + run_columns


def labels_json(labels: Mapping[str, str]) -> str:
    """Labels as the JSON text that asyncpg takes for jsonb. Raises `BadMessage` for a lone surrogate."""
    try:
        return encode(dict(labels)).decode()
    except UnicodeEncodeError as error:
        raise BadMessage(f"the database cannot hold the labels {dict(labels)!r}: {error}") from error


def of_rows(batch: Commit) -> Columns:
    """Arguments of `waypost_commit_rows`, without `held` and the number of leases."""
    home = homes(batch).get
    approvals: Sequence[ApprovalRow] = last_of_each(batch.approvals, attrgetter("approval_id"))
    messages: Sequence[InboxRow] = batch.inbox_add
    chunks = [
        (sha256, index, len(parts), part)
        for sha256, parts in {blob.sha256: chunks_of(blob.data) for blob in batch.blobs}.items()
        for index, part in enumerate(parts)
    ]
    return [
        *_columns(_TIMER, last_of_each(batch.set_timers, attrgetter("run_id", "timer_id")), 4),
        *_columns(tuple, batch.clear_timers, 2),
        [home(run_id) for run_id, _ in batch.clear_timers],
        [home(row.run_id) for row in approvals],
        *_columns(_APPROVAL, approvals, 16),
        [None if row.sender is None else home(row.sender) for row in messages],
        *_columns(_INBOX, messages, 5),
        batch.inbox_remove,
        [home(row.run_id) for row in batch.notices],
        *_columns(_NOTICE, batch.notices, 5),
        *_columns(tuple, chunks, 4),
    ]


def of_approvals(batch: Commit) -> Columns:
    """Arguments of `waypost_commit_approvals`, without `held`."""
    home = homes(batch).get
    known = [row for row in last_of_each(batch.approvals, attrgetter("approval_id")) if row.details is not None]
    return [[home(row.run_id) for row in known], *_columns(_DETAILS, known, 4)]


def of_calls(batch: Commit) -> Columns:
    """Arguments of `waypost_commit_calls`, without `held`."""
    home = homes(batch).get
    permits: Sequence[PermitRow] = last_of_each(batch.permits, attrgetter("run_id", "call_id"))
    revoked: list[tuple[int | None, RunId, CallId | None]] = [(home(run_id), run_id, None) for run_id in batch.revoke_runs]
    revoked += [(home(run_id), run_id, call_id) for run_id, call_id in batch.revoke_calls if run_id not in batch.revoke_runs]
    return [
        [home(row.run_id) for row in permits],
        *_columns(_PERMIT, permits, 9),
        *_columns(tuple, list(dict.fromkeys(revoked)), 3),
    ]


def _columns(row_of: Callable[[Any], Iterable[Any]], rows: Sequence[Any], width: int) -> Columns:
    return list(zip(*map(row_of, rows), strict=True)) if rows else [()] * width
