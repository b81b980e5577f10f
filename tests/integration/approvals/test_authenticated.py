"""Who decides is authenticated, never taken from a body: forged, expired, replayed, edited and self-given approvals, from outside (P6)."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client as NatsClient

from tests.integration.approvals.platform import Platform, approval_of
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.identity import Signer, new_token
from waypost_proto.errors import Conflict, Denied, NotAuthenticated, WaypostError
from waypost_proto.ids import uuid7
from waypost_proto.signing import AT_HEADER, SIGNATURE_HEADER


async def started(desk: Platform, amount: int = 7, **how: Any) -> str:
    async with desk.client("sam") as sam:
        return (await sam.start("payer", {"amount": amount, **how})).run_id


async def outcome(client: Client, run_id: str) -> dict[str, Any]:
    return await client.result(run_id, type=dict[str, Any], timeout=20)


async def raw(desk: Platform, verb: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[str, str]:
    """A request by plain nats-py: (error code or "200", detail)."""
    connection: NatsClient = await nats.connect(desk.environment["WAYPOST_NATS_URL"])
    try:
        subject = f"{desk.environment['WAYPOST_PREFIX']}.api.approvals.{verb}"
        answer = await connection.request(subject, body, timeout=10, headers=headers)
    finally:
        await connection.close()
    return (answer.headers or {}).get("Nats-Service-Error-Code", "200"), answer.data.decode()


def subject(desk: Platform) -> str:
    return f"{desk.environment['WAYPOST_PREFIX']}.api.approvals.decide"


def decision(approval_id: str, **more: Any) -> bytes:
    return json.dumps({"approval_id": approval_id, "decision": "approve", **more}).encode()


async def test_an_officer_approves_and_it_is_recorded_who_started_and_who_approved(desk: Platform) -> None:
    run_id = await started(desk)
    async with desk.client("ann") as ann:
        approval = await approval_of(ann, run_id)
        assert (approval.role, approval.starter) == ("officer", "sam")
        await ann.approve(approval.approval_id, reason="fine")
        assert (await outcome(ann, run_id))["receipt"] == "paid 7"
        log = {event.type: json.loads(bytes(event.data)) async for event in ann.events(run_id)}
    assert log["run_started"]["starter"] == "sam"
    assert log["approval_granted"]["by"] == "ann"
    assert desk.effects(run_id) == ["7"]


async def test_a_body_that_claims_to_be_an_officer_is_nobody(desk: Platform) -> None:
    run_id = await started(desk)
    async with desk.client("watcher") as watcher:
        approval = await approval_of(watcher, run_id)
    async with desk.client() as nobody:
        with pytest.raises(NotAuthenticated):
            await nobody.get(run_id)
        with pytest.raises(NotAuthenticated, match="WAYPOST_API_TOKEN"):
            await nobody.approve(approval.approval_id, by="ann", roles=["officer"])
        with pytest.raises(NotAuthenticated):
            await nobody.start("payer", {"amount": 1})
        with pytest.raises(NotAuthenticated):
            await nobody.cancel(run_id)
    assert desk.effects(run_id) == []


async def test_nobody_may_say_more_of_themselves_than_is_known(desk: Platform) -> None:
    run_id = await started(desk)
    async with desk.client("clara") as clara:
        approval = await approval_of(clara, run_id)
        with pytest.raises(Denied, match="does not have the role 'officer'"):
            await clara.approve(approval.approval_id, roles=["officer"])
        with pytest.raises(Denied, match="signed by 'clara'"):
            await clara.approve(approval.approval_id, by="ann")
        with pytest.raises(Denied, match="for the role 'officer'"):
            await clara.approve(approval.approval_id)
        with pytest.raises(Denied, match=r"runs\.start needs one of the roles"):
            await clara.start("payer", {"amount": 1})
        with pytest.raises(Denied, match=r"runs\.cancel needs one of the roles admin, operator"):
            await clara.cancel(run_id)
    async with desk.client("olga") as olga:
        await olga.cancel(run_id)


async def test_who_started_the_run_does_not_approve_it(desk: Platform) -> None:
    run_id = await started(desk)
    async with desk.client("sam") as sam:
        approval = await approval_of(sam, run_id)
        with pytest.raises(Denied, match="sam started run"):
            await sam.approve(approval.approval_id)
        await sam.deny(approval.approval_id, reason="changed my mind")
        assert "changed my mind" in (await outcome(sam, run_id))["receipt"]
    assert desk.effects(run_id) == []


async def test_a_task_that_nobody_signed_is_approved_by_nobody_and_a_signed_one_has_a_starter(desk: Platform) -> None:
    connection = await nats.connect(desk.environment["WAYPOST_NATS_URL"])
    task = f"{desk.environment['WAYPOST_PREFIX']}.tasks.payer"
    runs = [str(uuid7(int(time.time() * 1000), bytes([n] * 10))) for n in (1, 2)]
    bodies = [json.dumps({"input": {"amount": 3}, "run_id": run_id}).encode() for run_id in runs]
    try:
        await connection.jetstream().publish(task, bodies[0])
        await connection.jetstream().publish(task, bodies[1], headers=Signer(desk.tokens["sam"]).headers(task, bodies[1]))
    finally:
        await connection.close()
    async with desk.client("ann") as ann:
        unsigned, signed = await approval_of(ann, runs[0]), await approval_of(ann, runs[1])
        with pytest.raises(Denied, match="nobody knows who started"):
            await ann.approve(unsigned.approval_id)
        assert signed.starter == "sam"
        await ann.approve(signed.approval_id)


async def test_a_forged_or_altered_signature_is_refused(desk: Platform) -> None:
    run_id = await started(desk)
    async with desk.client("ann") as ann:
        approval = await approval_of(ann, run_id)
    body = decision(approval.approval_id)
    good = Signer(desk.tokens["ann"]).headers(subject(desk), body)
    code, detail = await raw(desk, "decide", decision(approval.approval_id, reason="altered"), good)
    assert (code, "changed on its way" in detail) == ("401", True)
    code, _ = await raw(desk, "decide", body, {**good, SIGNATURE_HEADER: "AAAA"})
    assert code == "401"
    code, detail = await raw(desk, "decide", body, Signer(new_token()[0]).headers(subject(desk), body))
    assert (code, "no identity has the key" in detail) == ("401", True)
    elsewhere = Signer(desk.tokens["ann"]).headers(subject(desk).replace("approvals.decide", "runs.signal"), body)
    assert (await raw(desk, "decide", body, elsewhere))[0] == "401"
    assert desk.effects(run_id) == []


async def test_an_old_signature_is_refused_and_a_repeated_one_does_nothing_twice(desk: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await started(desk, quorum=2)
    async with desk.client("ann") as ann:
        approval = await approval_of(ann, run_id)
    body = decision(approval.approval_id)
    with monkeypatch.context() as patch:
        patch.setattr("waypost_io.identity.time.time", lambda: datetime.now(UTC).timestamp() - 3_600)
        late = Signer(desk.tokens["ann"]).headers(subject(desk), body)
    assert late[AT_HEADER] < datetime.now(UTC).isoformat()
    code, detail = await raw(desk, "decide", body, late)
    assert (code, "sign it anew" in detail) == ("401", True)
    headers = Signer(desk.tokens["ann"]).headers(subject(desk), body)
    for expected in (False, True):
        code, detail = await raw(desk, "decide", body, headers)
        assert (code, json.loads(detail).get("duplicate", False)) == ("200", expected)
    assert desk.effects(run_id) == []  # the repeat was no second approver


async def test_an_identity_that_has_expired_or_was_removed_decides_nothing(desk: Platform) -> None:
    path = Path(desk.environment["WAYPOST_API_TOKENS_FILE"])
    known = path.read_text(encoding="utf-8")
    token, key = new_token()
    run_id = await started(desk)
    async with desk.client("ann") as ann:
        approval = await approval_of(ann, run_id)
    past = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry = f'\n[[identity]]\nsubject = "eve"\nkey = "{key}"\nroles = ["officer"]\nexpires = {past}\n'
    desk.tokens["eve"] = token

    async def refused(why: str) -> bool:
        async with desk.client("eve") as eve:
            with pytest.raises(NotAuthenticated) as error:
                await eve.approve(approval.approval_id)
            return why in str(error.value)

    assert await refused("no identity has the key")
    path.write_text(known + entry, encoding="utf-8")
    await wait_until(lambda: refused("has expired"))
    path.write_text("not toml", encoding="utf-8")  # an error in the file: what was known stays
    async with desk.client("ann") as ann:
        await ann.approve(approval.approval_id)
    path.write_text(known, encoding="utf-8")
    assert desk.effects(run_id) == ["7"] or await wait_until(lambda: desk.effects(run_id) == ["7"])


async def test_a_decision_by_the_mailbox_that_nobody_signed_changes_nothing(desk: Platform) -> None:
    """Whoever may publish there leaves the API out: the owner of the run checks the signature all the same."""
    run_id = await started(desk)
    async with desk.client("ann") as ann:
        approval = await approval_of(ann, run_id)
        connection = await nats.connect(desk.environment["WAYPOST_NATS_URL"])
        forged = {
            "type": "decide_approval",
            "run_id": run_id,
            "request_id": "x1",
            "by": "ann",
            "approval_id": approval.approval_id,
            "decision": "approve",
            "roles": ["officer"],
            "authenticated": True,
        }
        try:
            mailbox = f"{desk.environment['WAYPOST_PREFIX']}.mailbox.control.run.{run_id}"
            await connection.jetstream().publish(mailbox, json.dumps(forged).encode())
            dead = f"{desk.environment['WAYPOST_PREFIX'].upper()}_DEAD"

            async def buried() -> bool:
                info = await connection.jetstream().stream_info(dead)
                return info.state.messages > 0

            await wait_until(buried)
        finally:
            await connection.close()
        assert (await ann.get(run_id)).status == "waiting_approval"
        assert desk.effects(run_id) == []


async def test_two_replicas_decide_whatever_run_it_is(desk: Platform) -> None:
    """Half of these are decided by the replica that was not asked: their signatures travel with them."""
    async with desk.client("sam") as sam:
        runs = [(await sam.start("payer", {"amount": n})).run_id for n in range(8)]
    async with desk.client("bob") as bob:
        await asyncio.gather(*[_approve(bob, run_id) for run_id in runs])
        assert [(await outcome(bob, run_id))["receipt"] for run_id in runs] == [f"paid {n}" for n in range(8)]


async def _approve(client: Client, run_id: str) -> None:
    await client.approve((await approval_of(client, run_id)).approval_id)


async def test_an_approval_and_a_cancel_at_once(desk: Platform) -> None:
    """Whichever is committed first: a cancelled run has no effect after the cancel was answered, and an effect happens once."""
    for _ in range(4):
        run_id = await started(desk)
        async with desk.client("ann") as ann, desk.client("olga") as olga:
            approval = await approval_of(ann, run_id)
            results = await asyncio.gather(ann.approve(approval.approval_id), olga.cancel(run_id), return_exceptions=True)
            assert not isinstance(results[1], BaseException) or (isinstance(results[1], Conflict) and "completed" in str(results[1])), (
                results
            )
            assert results[0] is None or not isinstance(results[0], BaseException) or isinstance(results[0], Conflict), results
            await wait_until(lambda run_id=run_id, ann=ann: _ended(ann, run_id))
            before = desk.effects(run_id)
            assert len(before) <= 1
            if isinstance(results[1], WaypostError):
                assert len(before) == 1, "a run that was not cancelled has done what it was allowed"
            if isinstance(results[0], WaypostError):
                assert before == []


async def _ended(client: Client, run_id: str) -> bool:
    return (await client.get(run_id)).status in ("cancelled", "completed")
