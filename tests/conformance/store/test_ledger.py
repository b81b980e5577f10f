"""Permits: started at most once, revoked or started but never both, under an approval that is used once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.conformance.store.conftest import World
from tests.conformance.store.rows import CALL, Owner, approval_row, permit_row, start
from waypost_io.store import Store
from waypost_proto.ids import CallId, RunId


async def permitted(me: Owner, **fields: object) -> RunId:
    run_id = await me.run()
    await me.commit(me.event(run_id), permits=[permit_row(run_id, **fields)])
    return run_id


async def state_of(store: Store, run_id: RunId) -> str:
    row = await store.ledger.get(run_id, CALL)
    assert row is not None
    return row.state


async def test_a_permit_is_started_once(world: World, me: Owner) -> None:
    run_id = await permitted(me)
    stores = [await world.store() for _ in range(3)]
    answers = await asyncio.gather(*(start(store, run_id, gateway=f"gw{n}") for n, store in enumerate(stores)))
    winners = [row for ok, row in answers if ok]
    assert len(winners) == 1
    row = winners[0]
    assert row is not None
    assert (row.state, row.attempt, row.result) == ("started", 1, None)
    now = await me.store.leases.now()
    assert row.lease_until == pytest.approx(now + 30, abs=20)
    assert row.hard_deadline == pytest.approx(now + 60, abs=20)
    assert all(other == row for _, other in answers)


@pytest.mark.parametrize("wrong", [{"attempt": 2}, {"args_digest": "other"}, {"approval_id": "other"}])
async def test_what_does_not_fit_the_permit_is_not_started(me: Owner, wrong: dict[str, object]) -> None:
    run_id = await permitted(me)
    started, row = await start(me.store, run_id, **wrong)
    assert not started
    assert row is not None
    assert row.state == "permitted"
    assert (await start(me.store, run_id))[0]


async def test_there_is_no_start_without_a_permit(me: Owner) -> None:
    assert await start(me.store, await me.run()) == (False, None)


async def test_settling_keeps_the_answer(me: Owner) -> None:
    run_id = await permitted(me)
    ledger = me.store.ledger
    assert not await ledger.settle(run_id, CALL, attempt=1, state="done", result=b"early")
    await start(me.store, run_id)
    assert not await ledger.settle(run_id, CALL, attempt=2, state="done", result=b"wrong attempt")
    assert not await ledger.settle(run_id, CALL, attempt=1, state="done", result=b"not mine", gateway="other")
    assert await ledger.settle(run_id, CALL, attempt=1, state="doubt", result=b"maybe", gateway="gw")
    assert await ledger.settle(run_id, CALL, attempt=1, state="done", result=b"\x00yes")
    assert not await ledger.settle(run_id, CALL, attempt=1, state="failed", result=b"late")
    row = await ledger.get(run_id, CALL)
    assert row is not None
    assert (row.state, row.result) == ("done", b"\x00yes")
    assert await ledger.of_run(run_id) == [row]


async def test_extending_and_taking_over(me: Owner) -> None:
    run_id = await permitted(me)
    ledger = me.store.ledger

    async def take(gateway: str, attempt: int = 1) -> bool:
        return await ledger.take_over(run_id, CALL, attempt=attempt, gateway=gateway, lease_seconds=30, hard_seconds=60)

    assert not await take("gw2")
    await start(me.store, run_id, lease_seconds=0)
    assert await ledger.extend(run_id, CALL, gateway="gw", lease_seconds=30)
    assert not await ledger.extend(run_id, CALL, gateway="gw2", lease_seconds=30)
    assert not await take("gw2")
    assert await ledger.extend(run_id, CALL, gateway="gw", lease_seconds=0)
    assert not await take("gw2", attempt=2)
    assert await take("gw2")
    row = await ledger.get(run_id, CALL)
    assert row is not None
    assert (row.gateway, row.state) == ("gw2", "started")
    assert not await ledger.settle(run_id, CALL, attempt=1, state="done", result=b"", gateway="gw")
    assert await ledger.settle(run_id, CALL, attempt=1, state="done", result=b"", gateway="gw2")
    assert not await ledger.extend(run_id, CALL, gateway="gw2", lease_seconds=30)


@pytest.mark.parametrize(
    ("state", "attempt", "force", "fresh"),
    [
        ("permitted", 1, False, False),
        ("permitted", 2, False, True),
        ("started", 2, False, False),
        ("started", 2, True, True),
        ("done", 2, False, False),
        ("done", 2, True, True),
        ("failed", 1, False, False),
        ("failed", 2, False, True),
        ("doubt", 1, False, False),
        ("doubt", 2, False, True),
        ("revoked", 1, False, True),
    ],
)
async def test_writing_a_permit_again(me: Owner, state: str, attempt: int, force: bool, fresh: bool) -> None:
    run_id = await permitted(me)
    if state == "revoked":
        await me.commit(me.event(run_id), revoke_runs=[run_id])
    elif state != "permitted":
        await start(me.store, run_id)
        if state != "started":
            await me.store.ledger.settle(run_id, CALL, attempt=1, state=state, result=b"first")  # type: ignore[arg-type]
    before = await me.store.ledger.get(run_id, CALL)
    await me.commit(me.event(run_id), permits=[permit_row(run_id, attempt=attempt, args_digest="new", force=force)])
    after = await me.store.ledger.get(run_id, CALL)
    assert after is not None
    if fresh:
        assert (after.state, after.attempt, after.gateway, after.lease_until, after.result) == ("permitted", attempt, "", None, None)
        assert (await start(me.store, run_id, attempt=attempt, args_digest="new"))[0]
    else:
        assert after == before


async def test_revoking_shows_what_may_still_take_effect(me: Owner) -> None:
    run_id = await me.run()
    calls = [CallId(f"0:{n}") for n in range(5)]
    await me.commit(me.event(run_id), permits=[permit_row(run_id, call_id) for call_id in calls])
    for call_id, settled in zip(calls[1:], ["started", "done", "failed", "doubt"], strict=True):
        await start(me.store, run_id, call_id)
        if settled != "started":
            await me.store.ledger.settle(run_id, call_id, attempt=1, state=settled, result=b"")  # type: ignore[arg-type]
    first = await me.commit(me.event(run_id), revoke_runs=[run_id], revoke_calls=[(run_id, calls[0])])
    again = await me.commit(me.event(run_id), revoke_runs=[run_id])
    for result in (first, again):
        states = sorted((row.call_id, row.state) for row in result.revoked)
        assert states == [(calls[0], "revoked"), (calls[1], "started"), (calls[4], "doubt")]
    started, row = await start(me.store, run_id, calls[0])
    assert not started
    assert row is not None
    assert row.state == "revoked"


async def test_a_permit_revoked_and_written_again_in_one_commit_is_a_permit(me: Owner) -> None:
    """Paused and resumed within a batch."""
    run_id = await permitted(me)
    result = await me.commit(me.event(run_id), permits=[permit_row(run_id, force=False)], revoke_runs=[run_id])
    assert [row.state for row in result.revoked] == ["revoked"]
    assert (await start(me.store, run_id))[0]


async def test_revoke_and_start_have_one_winner_and_the_revoker_knows_it(world: World, me: Owner) -> None:
    gateway = await world.store()
    seen = set()
    for _ in range(40):
        run_id = await permitted(me)
        result, (started, _) = await asyncio.gather(me.commit(me.event(run_id), revoke_runs=[run_id]), start(gateway, run_id))
        stored = await state_of(me.store, run_id)
        assert [row.state for row in result.revoked] == [stored] == ["started" if started else "revoked"]
        seen.add(stored)
    assert seen  # which of them won is chance; on Postgres both do over forty rounds


# -- approvals


async def approved(me: Owner, **fields: object) -> RunId:
    run_id = await me.run()
    row = replace(approval_row(run_id, run_id, **fields), state="granted", decided_by="ann", decided_at=1.0)
    await me.commit(me.event(run_id), approvals=[row], permits=[permit_row(run_id, approval_id=run_id)])
    return run_id


async def test_an_approval_is_used_once_by_concurrent_starts(world: World, me: Owner) -> None:
    stores = [await world.store() for _ in range(3)]
    for _ in range(10):
        run_id = await approved(me)
        answers = await asyncio.gather(*(start(store, run_id, approval_id=run_id) for store in stores))
        assert [ok for ok, _ in answers].count(True) == 1
        found = await me.store.approvals.get(run_id)
        assert found is not None
        assert found.state == "used"


async def test_a_used_approval_starts_no_other_call(me: Owner) -> None:
    run_id = await approved(me)
    other = CallId("0:2")
    await me.commit(me.event(run_id), permits=[permit_row(run_id, other, approval_id=run_id)])
    assert not (await start(me.store, run_id, other, approval_id=run_id))[0]
    assert (await start(me.store, run_id, approval_id=run_id))[0]
    assert not (await start(me.store, run_id, other, approval_id=run_id))[0]


async def test_a_further_attempt_of_the_same_call_goes_under_the_approval_it_has_used(me: Owner) -> None:
    run_id = await approved(me)
    await start(me.store, run_id, approval_id=run_id)
    await me.store.ledger.settle(run_id, CALL, attempt=1, state="failed", result=b"")
    await me.commit(me.event(run_id), permits=[permit_row(run_id, attempt=2, approval_id=run_id)])
    assert (await start(me.store, run_id, attempt=2, approval_id=run_id))[0]


async def test_an_approval_used_by_another_row_helps_no_fresh_permit(me: Owner) -> None:
    """The call's permit changes to an approval that it has not used itself."""
    run_id = await approved(me)
    await start(me.store, run_id, approval_id=run_id)
    await me.store.ledger.settle(run_id, CALL, attempt=1, state="failed", result=b"")
    other = replace(approval_row(run_id, "second"), state="open")
    await me.commit(me.event(run_id), approvals=[other], permits=[permit_row(run_id, attempt=2, approval_id="second")])
    assert not (await start(me.store, run_id, attempt=2, approval_id="second"))[0]
    await me.commit(me.event(run_id), approvals=[replace(other, state="granted")])
    assert (await start(me.store, run_id, attempt=2, approval_id="second"))[0]


@pytest.mark.parametrize(
    "fields", [{"expires_at": 1.0}, {"args_digest": "other"}, {"call_id": CallId("0:2")}], ids=["expired", "other arguments", "other call"]
)
async def test_an_approval_of_something_else_starts_nothing(me: Owner, fields: dict[str, object]) -> None:
    run_id = await approved(me, **fields)
    started, row = await start(me.store, run_id, approval_id=run_id)
    assert not started
    assert row is not None
    assert row.state == "permitted"
    found = await me.store.approvals.get(run_id)
    assert found is not None
    assert found.state == "granted"


@pytest.mark.parametrize("state", ["open", "denied", "expired", "withdrawn"])
async def test_only_a_granted_approval_counts(me: Owner, state: str) -> None:
    run_id = await me.run()
    await me.commit(
        me.event(run_id),
        approvals=[replace(approval_row(run_id, run_id), state=state)],  # type: ignore[arg-type]
        permits=[permit_row(run_id, approval_id=run_id)],
    )
    assert not (await start(me.store, run_id, approval_id=run_id))[0]
    assert not (await start(me.store, run_id))[0]


async def test_withdrawing_and_starting_do_not_deadlock(world: World, me: Owner) -> None:
    gateway = await world.store()
    for _ in range(30):
        run_id = await approved(me)
        row = await me.store.approvals.get(run_id)
        assert row is not None
        batch = me.commit(me.event(run_id), approvals=[replace(row, state="withdrawn")], revoke_runs=[run_id])
        result, (started, _) = await asyncio.gather(batch, start(gateway, run_id, approval_id=run_id))
        found = await me.store.approvals.get(run_id)
        assert found is not None
        assert (started, found.state) in ((True, "used"), (False, "withdrawn"))
        assert [row.state for row in result.revoked] == ["started" if started else "revoked"]


async def test_approvals_are_listed_by_state_role_and_run(me: Owner) -> None:
    one, two = await me.run(), await me.run()
    rows = [
        approval_row(one, "a", requested_at=3.0),
        approval_row(one, "b", requested_at=1.0, role="chief"),
        approval_row(two, "c", requested_at=2.0),
        replace(approval_row(two, "d", requested_at=4.0), state="denied"),
    ]
    await me.commit(me.event(one), me.event(two), approvals=rows)
    listed = me.store.approvals.list
    assert [row.approval_id for row in await listed(state="open")] == ["b", "c", "a"]
    assert [row.approval_id for row in await listed(state="all")] == ["d", "a", "c", "b"]
    assert [row.approval_id for row in await listed(state="open", role="officer")] == ["c", "a"]
    assert [row.approval_id for row in await listed(state="all", run_id=two, limit=1)] == ["d"]
    assert await me.store.approvals.get("nothing") is None
