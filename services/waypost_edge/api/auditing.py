"""`/v1/audit`: what the audit log can show of itself, read from Postgres. Owns no proof: they are `waypost_io.audit`'s."""

from __future__ import annotations

from waypost_core.audit.proofs import ConsistencyProof, InclusionProof
from waypost_edge.api.types import (
    AuditHead,
    AuditHeads,
    AuditKey,
    AuditKeys,
    AuditStatus,
    HeadsAsked,
    NothingAsked,
    ProofOfEventAsked,
    ProofOfGrowthAsked,
)
from waypost_edge.auth import Caller
from waypost_io.audit.proving import prove_event, prove_growth
from waypost_io.store.ports import HeadRow, Store
from waypost_proto.errors import BadInput, NotFound
from waypost_proto.ids import parse_run_id
from waypost_proto.task import format_time

MAX_HEADS = 200
_MOST = 2**62
"""No log has so many leaves; more does not fit into Postgres' numbers."""


async def status(store: Store, _request: NothingAsked, _caller: Caller) -> AuditStatus:
    """The log's name and size, who appends, the newest head."""
    state = await store.audit.state()
    newest = await store.audit.newest_head()
    head = None if newest is None else _head(newest)
    return AuditStatus(origin=state.origin, leaves=state.size, logger=state.owner if state.held else "", head=head)


async def heads(store: Store, request: HeadsAsked, _caller: Caller) -> AuditHeads:
    """A page of signed heads."""
    if not 1 <= request.limit <= MAX_HEADS:
        raise BadInput(f"limit {request.limit} is out of range: use 1 to {MAX_HEADS}")
    found = await store.audit.heads(from_size=_size("after", request.after) + 1, limit=request.limit)
    more = found[-1].size if len(found) == request.limit else None
    return AuditHeads(heads=[_head(row) for row in found], next_after=more)


async def keys(store: Store, _request: NothingAsked, _caller: Caller) -> AuditKeys:
    """Every key that has signed, with the statement by which it came."""
    return AuditKeys(
        keys=[
            AuditKey(number=row.number, key_id=row.key_id, from_size=row.size, added_at=format_time(row.added_at), statement=row.note)
            for row in await store.audit.keys()
        ]
    )


async def inclusion(store: Store, request: ProofOfEventAsked, caller: Caller) -> InclusionProof:
    """Proof of an event, with its bytes. Raises `NotFound`, for a run of another tenant too."""
    run_id = parse_run_id(request.run_id)
    run = await store.reads.get(run_id)
    if run is None or not caller.sees(run.tenant, run.agent):
        raise NotFound(f"no run {run_id}")
    size = None if request.size is None else _size("size", request.size)
    return await prove_event(store.audit, run_id, _size("seq", request.seq), size=size)


async def consistency(store: Store, request: ProofOfGrowthAsked, _caller: Caller) -> ConsistencyProof:
    """Proof that the log only grew."""
    return await prove_growth(store.audit, _size("old", request.old), None if request.new is None else _size("new", request.new))


def _size(name: str, value: int) -> int:
    if not 0 <= value <= _MOST:
        raise BadInput(f"{name}={value} is out of range")
    return value


def _head(row: HeadRow) -> AuditHead:
    return AuditHead(size=row.size, key_id=row.key_id, signed_at=format_time(row.signed_at), note=row.note)
