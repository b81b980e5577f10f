"""What is open in a deployment as a whole, on both adapters."""

from __future__ import annotations

import pytest

from tests.conformance.store.rows import AT, CALL, Owner, approval_row, new_run_id, permit_row, run_row, start
from waypost_io.store.overview import OpenApprovals, OpenRuns


async def test_open_runs_by_agent_and_status(me: Owner) -> None:
    now = await me.store.leases.now()
    await me.run(1, agent="a", status="running")
    await me.run(1, agent="a", status="waiting", held=True)
    await me.run(2, agent="a", status="waiting", created_at=now - 100, deadline_at=now + 5)  # 5 of 105 seconds are left
    await me.run(2, agent="a", status="waiting", created_at=now - 100, deadline_at=now + 1000)
    await me.run(2, agent="b", status="paused", created_at=now - 100, deadline_at=now - 50)
    await me.run(2, agent="b", status="completed", open=False, deadline_at=now - 70)
    await me.run(3, agent="elsewhere", status="running")
    found = await me.store.overview.open_runs([1, 2])
    assert found == [
        OpenRuns(agent="a", status="running", count=1),
        OpenRuns(agent="a", status="waiting", count=3, unhosted=1, near=1, next_deadline_at=found[1].next_deadline_at),
        OpenRuns(agent="b", status="paused", count=1, near=1, next_deadline_at=found[2].next_deadline_at),
    ]
    assert found[1].next_deadline_at == pytest.approx(now + 5, abs=1e-3)
    assert found[2].next_deadline_at == pytest.approx(now - 50, abs=1e-3)
    assert await me.store.overview.open_runs([]) == []


async def test_open_approvals_by_agent_and_role(me: Owner) -> None:
    ours, other = new_run_id(1), new_run_id(3)
    rows = [
        approval_row(ours, "one", requested_at=AT + 5, expires_at=AT + 900),
        approval_row(ours, "two", requested_at=AT + 1, expires_at=AT + 1000),
        approval_row(ours, "three", role="manager"),
        approval_row(ours, "four", state="granted"),
        approval_row(other, "five"),
    ]
    await me.commit(me.event(ours), me.event(other), approvals=rows)
    assert await me.store.overview.open_approvals([1]) == [
        OpenApprovals(agent="compliance", role="manager", count=1, oldest_at=AT, next_expiry_at=AT + 10**9),
        OpenApprovals(agent="compliance", role="officer", count=2, oldest_at=AT + 1, next_expiry_at=AT + 900),
    ]
    assert await me.store.overview.open_approvals([]) == []


async def test_runs_that_may_have_a_call_in_doubt(me: Owner) -> None:
    runs = {
        name: new_run_id(partition) for name, partition in (("doubt", 1), ("started", 2), ("permitted", 1), ("done", 1), ("elsewhere", 3))
    }
    ended = new_run_id(1)
    await me.commit(
        *(me.event(run_id) for run_id in (*runs.values(), ended)), permits=[permit_row(each) for each in (*runs.values(), ended)]
    )
    for run_id in (runs["doubt"], runs["started"], runs["done"], runs["elsewhere"], ended):
        assert (await start(me.store, run_id))[0]
    for run_id, state in ((runs["doubt"], "doubt"), (runs["done"], "done"), (ended, "doubt")):
        assert await me.store.ledger.settle(run_id, CALL, attempt=1, state=state, result=b"{}")
    await me.commit(me.event(ended), runs=[run_row(ended, 2, open=False, status="failed")])
    overview = me.store.overview
    assert [run.run_id for run in await overview.doubtful([1, 2])] == sorted([runs["doubt"], runs["started"]])
    assert len(await overview.doubtful([1, 2], limit=1)) == 1
    assert await overview.doubtful([1], limit=5) == [(await me.store.log.load_runs([runs["doubt"]]))[runs["doubt"]]]
    assert await me.store.ledger.settle(runs["doubt"], CALL, attempt=1, state="done", result=b"{}")
    assert await overview.doubtful([1]) == []
