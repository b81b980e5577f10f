"""Retention: months of events are dropped on record. Owns what may be dropped and the statement; the store owns how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from waypost_core.audit.drops import Drop, digest_of_leaves
from waypost_core.audit.heads import Head, parse_head
from waypost_core.audit.keyring import Keyring
from waypost_core.audit.notes import BadNote, Note, SigningKey, signed
from waypost_io.store.pg.retention import Droppable, PostgresRetention
from waypost_io.store.ports import Audit
from waypost_proto.errors import BadInput, ContractError, NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropping:
    """A partition that was dropped, or would be; `note` is its statement, "" if it was only looked at."""

    what: str
    events: int
    runs: int
    kept_runs: int
    upto: int
    note: str = ""


async def prune(
    audit: Audit,
    retention: PostgresRetention,
    *,
    before: float,
    now: float,
    by: str,
    keys: Sequence[SigningKey],
    on_drop: Callable[[Dropping], None] = lambda _: None,
) -> list[Dropping]:
    """Drop every month of events that was over at `before`, each with a statement signed by the log's key; all times in Unix seconds.

    Runs that have not ended, or ended later, keep their events. Without `keys` it only says what would go. Safe to repeat, and to cut off:
    each month goes whole, with its statement, or stays.
    Raises `NotFound` without a signed head, `BadInput` for a `by` or keys that cannot be used, `ContractError` when the audit log is behind
    or contradicts an event, `TransientError`.
    """
    newest = await audit.newest_head()
    if newest is None:
        raise NotFound(
            "the audit log has no signed head: what is dropped must be under one; is WAYPOST_AUDIT_KEY_FILE set for the audit logger?"
        )
    head = replace(parse_head(newest.note)[0], time=now)
    ring = Keyring([key.note for key in await audit.keys()])
    done = []
    for name in await retention.partitions(before):
        made: list[str] = []

        def sign(found: Droppable, made: list[str] = made) -> str:
            made.append(statement(head, ring, keys, by, found))
            return made[0]

        found = await retention.drop(name, before, sign if keys else None)
        dropping = Dropping(
            what=name, events=found.events, runs=found.runs, kept_runs=found.kept_runs, upto=found.upto, note=made[0] if made else ""
        )
        done.append(dropping)
        on_drop(dropping)
    return done


def statement(head: Head, ring: Keyring, keys: Sequence[SigningKey], by: str, found: Droppable) -> str:
    """The signed statement. Raises as `prune` does."""
    if found.upto > head.size:
        raise ContractError(
            f"{found.what} has leaves up to {found.upto}, the newest signed head covers {head.size}: try again in some seconds"
        )
    drop = Drop(
        head=head, by=by, what=found.what, events=found.events, runs=found.runs, upto=found.upto, digest=digest_of_leaves(found.leaves)
    )
    try:
        text = drop.text
    except BadNote as error:
        raise BadInput(f"--by: {error}") from error
    for key in reversed(keys):
        note = signed(text, [key])
        if not ring.fault(head, Note.parse(note)):
            return note
    raise BadInput(f"none of the {len(keys)} keys in the key file signs the heads of this log; use the file of its audit logger")
