"""Proofs out of the database, for the command line and the edge. Each costs a few index scans, whatever the size of the log."""

from __future__ import annotations

from waypost_core.audit.merkle import consistency_ranges, inclusion_ranges
from waypost_core.audit.proofs import ConsistencyProof, InclusionProof
from waypost_io.audit.tree import read_hashes
from waypost_io.store.ports import Audit, HeadRow
from waypost_proto.errors import BadInput, NotFound
from waypost_proto.ids import RunId


async def prove_event(audit: Audit, run_id: RunId, seq: int, *, size: int | None = None) -> InclusionProof:
    """That event `seq` of a run is in the log: against the newest signed head, or that of exactly `size` leaves.

    Raises `NotFound`: no such event, not in the log or under a head yet, no such head.
    """
    found = await audit.find(run_id, seq)
    if found is None:
        raise NotFound(f"event {seq} of run {run_id} is not in the audit log: there is no such event, or it was recorded a moment ago")
    index, event = found
    head = await _head(audit, size)
    if index >= head.size:
        raise NotFound(
            f"event {seq} of run {run_id} is leaf {index}; the newest signed head covers {head.size} leaves: try again in some seconds"
        )
    path = await read_hashes(audit, inclusion_ranges(index, head.size))
    keys = [key.note for key in await audit.keys()]
    return InclusionProof.of(run_id=run_id, seq=seq, index=index, body=event.body, path=path, head=head.note, keys=keys)


async def prove_growth(audit: Audit, old: int, new: int | None = None) -> ConsistencyProof:
    """That the log at `old` leaves is the beginning of the log at `new`, both signed heads; the newest if `new` is None.

    Raises `NotFound` when there is no such head, `BadInput` when `old` is the larger one.
    """
    first, second = await _head(audit, old), await _head(audit, new)
    if first.size > second.size:
        raise BadInput(f"a log of {first.size} leaves is not the beginning of one of {second.size}: name the smaller one first")
    path = await read_hashes(audit, consistency_ranges(first.size, second.size))
    keys = [key.note for key in await audit.keys()]
    return ConsistencyProof.of(path=path, old_head=first.note, new_head=second.note, keys=keys)


async def _head(audit: Audit, size: int | None) -> HeadRow:
    head = await audit.newest_head() if size is None else await audit.newest_head(at_most=size)
    if head is None:
        raise NotFound("the audit log has no signed head yet: is WAYPOST_AUDIT_KEY_FILE set for the audit logger?")
    if size is not None and head.size != size:
        raise NotFound(
            f"there is no signed head of {size} leaves; the next smaller one has {head.size}: `waypost audit head --all` lists them"
        )
    return head
