"""Quorum, edited arguments, escalation, expiry and questions on real processes, with effects counted outside."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.integration.approvals.platform import Platform, approval_of
from tests.integration.approvals.test_authenticated import outcome, started
from waypost_proto.errors import BadInput, Conflict


async def test_a_quorum_of_two(desk: Platform) -> None:
    run_id = await started(desk, quorum=2)
    async with desk.client("ann") as ann, desk.client("bob") as bob:
        approval = await approval_of(ann, run_id)
        await ann.approve(approval.approval_id)
        with pytest.raises(Conflict, match="ann has approved"):
            await ann.approve(approval.approval_id)
        view = await approval_of(bob, run_id)
        assert (view.quorum, view.given_by, view.state) == (2, ["ann"], "open")
        assert "1 more of officer" in (await bob.get(run_id)).waiting_for
        assert desk.effects(run_id) == []
        await bob.approve(approval.approval_id)
        assert (await outcome(bob, run_id))["receipt"] == "paid 7"
        decided = await bob.approvals(state="all", run_id=run_id)
    assert [(a.state, a.decided_by) for a in decided] == [("used", "ann, bob")]
    assert desk.effects(run_id) == ["7"]


async def test_edited_arguments_are_what_runs_and_the_agent_sees_it(desk: Platform) -> None:
    run_id = await started(desk)
    async with desk.client("ann") as ann:
        approval = await approval_of(ann, run_id)
        with pytest.raises(BadInput, match="amount: 'five' is not a whole number"):
            await ann.approve(approval.approval_id, args={"amount": "five"})
        with pytest.raises(BadInput, match="amount: is missing"):
            await ann.approve(approval.approval_id, args={})
        await ann.approve(approval.approval_id, args={"amount": 5}, reason="less")
        seen = await outcome(ann, run_id)
        log = [(event.type, json.loads(bytes(event.data))) async for event in ann.events(run_id)]
    assert seen == {"receipt": "paid 5", "edits": [{"by": "ann", "arguments": {"amount": 5}, "reason": "less"}]}
    assert desk.effects(run_id) == ["5"]
    types = [kind for kind, _ in log]
    edited = dict(log)["approval_edited"]
    assert types.index("approval_edited") < types.index("approval_granted")
    assert edited["previous_digest"] == approval.args_digest != edited["args_digest"]
    assert json.loads(json.dumps(dict(log)["tool_call_requested"]["args"])) == {"amount": 7}


async def test_nobody_decides_and_the_director_does(desk: Platform) -> None:
    run_id = await started(desk, expires=0.3, escalate_to="director")
    async with desk.client("dora") as dora, desk.client("ann") as ann:
        first = await approval_of(ann, run_id)
        second = await approval_of(dora, run_id, other_than=first.approval_id)
        assert (second.role, second.replaces) == ("director", first.approval_id)
        with pytest.raises(Conflict):
            await ann.approve(first.approval_id)
        seen = await outcome(dora, run_id)  # nor does the director, in time
    assert "nobody decided" in seen["receipt"]
    assert desk.effects(run_id) == []


async def asking(desk: Platform, **how: Any) -> str:
    async with desk.client("sam") as sam:
        return (await sam.start("asker", how)).run_id


async def test_a_question_gets_a_typed_answer(desk: Platform) -> None:
    run_id = await asking(desk)
    async with desk.client("ann") as ann:
        question = await approval_of(ann, run_id)
        assert (question.kind, question.question) == ("question", "Up to which amount?")
        assert "amount" in json.dumps(json.loads(bytes(question.answer_schema)))  # type: ignore[arg-type]
        assert "an answer by officer" in (await ann.get(run_id)).waiting_for
        with pytest.raises(BadInput, match="amount: 0 is not above 0"):
            await ann.answer(question.approval_id, {"amount": 0, "currency": "EUR"})
        with pytest.raises(BadInput, match="is a question"):
            await ann.approve(question.approval_id)
        await ann.answer(question.approval_id, {"amount": 9, "currency": "EUR"})
        assert await ann.result(run_id, timeout=20) == "9 EUR"


async def test_a_question_that_nobody_answers_or_somebody_declines(desk: Platform) -> None:
    late, declined = await asyncio.gather(asking(desk, expires=0.3), asking(desk))
    async with desk.client("ann") as ann:
        await ann.deny((await approval_of(ann, declined)).approval_id, reason="not mine")
        assert await ann.result(declined, timeout=20) == "QuestionDeclined"
        assert await ann.result(late, timeout=20) == "QuestionExpired"
