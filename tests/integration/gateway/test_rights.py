"""The gateway with the rights of its own database role, and no more."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.unit.waypost_gateway.rig import Desktop, Rig, approval_id
from waypost import ToolContext
from waypost_io.store.ports import Store
from waypost_io.store.postgres import PostgresStore
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.mailbox import ToolSucceeded, ToolUncertain
from waypost_proto.values import BlobRef


@pytest.fixture
async def limited(postgres_url: str) -> AsyncIterator[Store]:
    """A store that is logged in as a user with the gateway's role."""
    user = f"gw{os.urandom(4).hex()}"
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"CREATE ROLE {user} LOGIN IN ROLE waypost_gateway")
    async with PostgresStore(postgres_url.replace("postgres@", f"{user}@")) as store:
        yield store
    await admin.execute(f"DROP ROLE {user}")
    await admin.close()


async def test_its_role_is_enough_for_everything_a_call_needs(rig: Rig, limited: Store) -> None:
    desktop = Desktop(timeout=0.5)
    args = b'{"amount":' + b" " * CLAIM_CHECK_BYTES + b"7}"

    async def large(ctx: ToolContext) -> str:
        return "x" * CLAIM_CHECK_BYTES

    async def fail(ctx: ToolContext) -> None:
        raise ConnectionError("reset")

    async def find(ctx: ToolContext) -> str:
        return "found"

    desktop.behaviour = {"put": large, "post": fail}
    desktop.hook = find
    async with rig.gateway(desktop, store=limited):
        ref = BlobRef(sha256=await rig.store.blobs.put(args), size=len(args))
        assert isinstance(await rig.run(rig.call("put", args, args_ref=ref)), ToolSucceeded)
        approved = rig.call("look", approval_id=approval_id(), permit=True)
        await rig.approval(approved)
        assert isinstance(await rig.run(approved), ToolSucceeded)
        call = rig.call("post")
        assert isinstance(await rig.run(call), ToolUncertain)
        await rig.send(rig.call("post", run_id=call.run_id, call_id=call.call_id, mode="reconcile"))
        assert isinstance(await rig.answer(call, 2), ToolSucceeded)
        await rig.settled()


async def test_its_role_cannot_write_a_permit_or_an_approval(rig: Rig, limited: Store, postgres_url: str) -> None:
    del rig, limited
    admin = await asyncpg.connect(postgres_url)
    try:
        for table in ("tool_ledger", "approvals", "events", "runs", "definitions"):
            assert not await admin.fetchval("SELECT has_table_privilege('waypost_gateway', $1, 'INSERT')", table), table
            assert not await admin.fetchval("SELECT has_table_privilege('waypost_gateway', $1, 'DELETE')", table), table
    finally:
        await admin.close()
