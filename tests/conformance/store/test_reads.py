"""What a coordinator, the API and people read of runs and events."""

from __future__ import annotations

from tests.conformance.store.rows import AT, CALL, PARTITIONS, Owner, new_run_id, permit_row, run_row, start
from waypost_io.store.ports import RunFilter
from waypost_proto.ids import RunId, unix_ms_of


async def test_events_are_read_in_order_in_pages_and_by_type(me: Owner) -> None:
    run_id, other = new_run_id(), new_run_id()
    events = [me.event(run_id, type=("timer_fired", "signal_received")[n % 2]) for n in range(7)]
    await me.commit(*reversed(events), me.event(other))
    log = me.store.log
    assert await log.load_events(run_id) == events
    assert await log.load_events(run_id, after=2, limit=3) == events[2:5]
    assert await log.load_events(run_id, after=7) == []
    assert await log.load_events(run_id, types=["timer_fired"]) == events[0::2]
    assert await log.load_events(run_id, after=1, limit=2, types=["timer_fired", "unknown"]) == [events[2], events[4]]
    assert await log.load_events(run_id, types=[]) == []


async def test_events_of_a_partition_come_by_position(me: Owner) -> None:
    runs = [new_run_id(2) for _ in range(3)]
    events = [me.event(run_id) for _ in range(4) for run_id in runs]
    await me.commit(*events[:5])
    await me.commit(*events[5:], me.event(new_run_id(1)))
    assert await me.store.log.events_after(2, 0, limit=100) == events
    assert await me.store.log.events_after(2, 3, limit=4) == events[3:7]
    assert await me.store.log.events_after(2, 12, limit=4) == []


async def test_the_sweep_pages_through_open_runs_of_a_partition(me: Owner) -> None:
    runs = [await me.run(1) for _ in range(5)]
    await me.run(2)
    await me.run(1, open=False, status="completed")
    pages, after = [], ""
    while page := await me.store.log.open_runs(1, after=after, limit=2):
        pages.append([run.run_id for run in page])
        after = page[-1].run_id
    assert pages == [runs[:2], runs[2:4], runs[4:]]
    assert [run.run_id for run in await me.store.log.open_runs(1)] == runs


async def test_runs_that_wait_for_a_host(me: Owner) -> None:
    one, two = await me.run(1, held=True), await me.run(2, held=True)
    await me.run(1)
    assert await me.store.log.held_runs([1, 2]) == [one, two]
    assert await me.store.log.held_runs([2, 3]) == [two]
    await me.commit(me.event(two), runs=[run_row(two, 2, held=False)])
    assert await me.store.log.held_runs([2, 3]) == []
    assert await me.store.log.held_runs([]) == []


async def test_runs_by_the_worker_that_holds_them(me: Owner) -> None:
    one, two = await me.run(1, worker="w1"), await me.run(2, worker="w2")
    three = await me.run(1, worker="w2")
    await me.run(1, worker="w3", open=False)
    await me.run(1)
    log = me.store.log
    assert await log.sticky_workers([1, 2]) == ["w1", "w2"]
    assert await log.sticky_workers([2]) == ["w2"]
    assert await log.runs_of_workers([1, 2], ["w2", "w3", ""]) == [two, three]
    assert await log.runs_of_workers([1], ["w1"]) == [one]
    assert await log.runs_of_workers([1], []) == []


async def test_a_run_that_moves_is_found_with_its_new_worker_only(me: Owner) -> None:
    run_id = await me.run(1, worker="w1")
    await me.commit(me.event(run_id), runs=[run_row(run_id, 2, worker="w2")])
    assert await me.store.log.runs_of_workers([1], ["w1"]) == []
    assert await me.store.log.sticky_workers([1]) == ["w2"]
    await me.commit(me.event(run_id), runs=[run_row(run_id, 3, worker="w2", open=False)])
    assert await me.store.log.sticky_workers([1]) == []


async def test_runs_are_listed_newest_first_by_filter(me: Owner) -> None:
    one = await me.run(labels={"case": "1", "team": "x"})
    two = await me.run(agent="other", labels={"case": "2", "team": "x"})
    three = await me.run(tenant="acme", status="paused")
    await me.run(labels={"case": "1' OR true", "team": "y"}, status="failed", open=False)

    async def listed(**fields: object) -> list[str]:
        return [run.run_id for run in await me.store.reads.list(RunFilter(**fields))]  # type: ignore[arg-type]

    assert (await listed())[1:] == [three, two, one]
    assert await listed(agent="other") == [two]
    assert await listed(tenant="acme") == [three]
    assert await listed(tenant="acme", agent="other") == []
    assert await listed(statuses=["paused"]) == [three]
    assert await listed(labels={"team": "x"}) == [two, one]
    assert await listed(labels={"team": "x", "case": "1"}) == [one]
    assert await listed(labels={"team": "x"}, agent="compliance") == [one]
    assert await listed(labels={"team": "z"}) == []


async def test_every_filter_of_the_list(me: Owner) -> None:
    parent = await me.run(updated_at=AT + 5_000)
    child = await me.run(parent=parent, correlation_id="order-17/a", labels={"team": "x"})
    keyed = await me.run(idempotency_key="invoice-9", status="failed", open=False, updated_at=AT + 9_000)
    paused = await me.run(status="paused", labels={"note": "a=b"})
    doubtful = await me.run(status="waiting")
    await me.run(status="completed", open=False)
    await me.commit(me.event(doubtful), runs=[run_row(doubtful, 2, status="waiting")], permits=[permit_row(doubtful)])
    await start(me.store, doubtful)
    assert await me.store.ledger.settle(doubtful, CALL, attempt=1, state="doubt", result=b"", gateway="gw")
    await me.run(status="paused", tenant="acme", correlation_id="order-18")

    async def listed(**fields: object) -> list[str]:
        return [run.run_id for run in await me.store.reads.list(RunFilter(tenant="default", **fields))]  # type: ignore[arg-type]

    assert await listed(parent=parent) == [child]
    assert await listed(text="order-") == [child]
    assert await listed(text="order-17/a") == [child]
    assert await listed(text="order_1") == [], "no wildcards"
    assert await listed(text="invoice") == [keyed]
    assert await listed(text=keyed) == [keyed]
    assert keyed in await listed(text=keyed[:8])
    assert await listed(text="team=x") == [child]
    assert await listed(text="note=a=b") == [paused]
    assert await listed(text="zz") == []
    assert await listed(text="0" * 40) == []
    assert await listed(statuses=["failed", "paused"]) == [paused, keyed]
    assert await listed(statuses=["failed", "waiting"]) == [doubtful, keyed]
    assert await listed(statuses=["waiting"]) == [doubtful]
    assert await listed(attention=True) == [doubtful, paused]
    assert await listed(attention=True, statuses=["paused"]) == [paused]
    assert await listed(updated_from=AT + 8_000, updated_to=AT + 10_000) == [keyed]
    assert parent not in await listed(updated_from=AT + 6_000)
    at = unix_ms_of(RunId(child)) / 1000
    assert await listed(created_to=at - 3_600) == []
    assert child in await listed(created_from=at - 0.01, created_to=at + 3_600)
    assert await listed(text="order-", labels={"team": "x"}, parent=parent, statuses=["running"]) == [child]
    assert await listed(text="order-", before=child) == []


async def test_the_list_is_paged_by_run_id(me: Owner) -> None:
    runs = [await me.run() for _ in range(5)]
    first = await me.store.reads.list(RunFilter(limit=2))
    second = await me.store.reads.list(RunFilter(limit=10, before=first[-1].run_id))
    assert [run.run_id for run in (*first, *second)] == runs[::-1]


async def test_what_does_not_exist_is_none_or_empty(me: Owner) -> None:
    unknown = new_run_id()
    assert await me.store.reads.get(unknown) is None
    assert await me.store.reads.notices(unknown) == []
    assert await me.store.log.load_runs([]) == {}
    assert await me.store.log.load_runs([unknown]) == {}
    assert await me.store.log.load_events(unknown) == []
    assert await me.store.log.inbox(0) == []
    assert await me.store.ledger.of_run(unknown) == []
    assert await me.store.timers.due(range(PARTITIONS), before=1e10, limit=5) == []
