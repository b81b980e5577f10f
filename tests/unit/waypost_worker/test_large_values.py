"""Values past the claim-check size, advances past the message size, and what is past every limit."""

from __future__ import annotations

import asyncio

from msgspec import UNSET, Raw, structs

from tests.unit.waypost_worker.desk import Desk
from tests.waiting import wait_until
from waypost import Context, agent, tool
from waypost_proto import commands as cmd
from waypost_proto.codec import decode
from waypost_proto.errors import TooLarge
from waypost_proto.ids import CallId
from waypost_proto.limits import CLAIM_CHECK_BYTES, MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES
from waypost_proto.subjects import ANY_WORKER
from waypost_proto.values import BlobRef
from waypost_worker.frames import EMPTY, MAX_FRAME_BYTES, check_in, frames_of

LARGE = CLAIM_CHECK_BYTES * 2 + 7


@tool(effect="read")
async def echo(text: str) -> str:
    return text


async def test_large_values_travel_by_reference_both_ways_and_through_a_replay(desk: Desk) -> None:
    async def large() -> str:
        return "s" * LARGE

    @agent(tools=[echo])
    async def carries(ctx: Context) -> str:
        made = await ctx.step(large)
        back = await ctx.call(echo, made)
        await ctx.signal("go", str)
        return made + back

    desk.coordinator.tools["echo"] = lambda args: args["text"]
    worker = await desk.hire(carries)
    run = desk.start(carries)
    await wait_until(lambda: run.of_type("signal_awaited"), message=lambda: desk.history(run))
    for entry in run.entries:
        assert len(bytes(entry.data)) < 2_000, entry.type
    await desk.kill(worker)
    await desk.hire(carries)
    desk.coordinator.signal(run, "go", "x")
    desk.coordinator.activate(run, to=ANY_WORKER)
    await desk.status(run, "completed")
    assert len(desk.coordinator.blobs[run.result.result_ref.sha256]) == LARGE * 2 + 2


async def test_many_commands_at_once_are_split_and_do_not_look_finished(desk: Desk) -> None:
    @agent(tools=[echo])
    async def asks(ctx: Context) -> int:
        return len(await asyncio.gather(*(ctx.call(echo, "x" * 1_000) for _ in range(2_500))))

    desk.coordinator.tools["echo"] = lambda args: args["text"]
    await desk.hire(asks)
    run = desk.start(asks)
    await desk.status(run, "completed")
    assert bytes(run.result.result) == b"2500"
    asking = [seen for seen in desk.coordinator.of(run) if "CallTool" in seen.kinds]
    assert len(asking) >= 5
    assert sum(len(seen.items) for seen in asking) == 2_500
    assert all(seen.advance.running == 1 for seen in asking[:-1])
    assert asking[-1].advance.running == 0


async def test_a_value_past_every_limit_fails_the_run_readably(desk: Desk) -> None:
    async def huge() -> str:
        return "h" * (MAX_PAYLOAD_BYTES + 1)

    @agent
    async def carries(ctx: Context) -> str:
        return await ctx.step(huge)

    await desk.hire(carries)
    run = desk.start(carries)
    await desk.status(run, "failed")
    assert "step 'huge'" in run.error.message
    assert str(MAX_PAYLOAD_BYTES) in run.error.message


class Full:
    """A store that takes nothing past a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.stored: list[bytes] = []

    async def store(self, data: bytes) -> BlobRef:
        if len(data) > self.limit:
            raise TooLarge(f"{len(data)} bytes, the limit is {self.limit}")
        self.stored.append(data)
        return BlobRef(sha256="a" * 64, size=len(data))


async def test_what_cannot_be_carried_ends_the_run_after_what_came_before_it() -> None:
    large = Raw(b'"' + b"x" * LARGE + b'"')
    small = cmd.AwaitSignal(seen=3, id=CallId("0:1"), name="go")
    call = cmd.CallTool(seen=3, id=CallId("0:2"), tool="echo", args=large)
    shown = cmd.SetState(seen=4, value=large)
    after = cmd.CompleteRun(seen=4, result=Raw(b"1"))
    store = Full(LARGE + 2)
    parts = [decode(cmd.AnyItem, part) for part in await check_in([small, call, shown, after], store)]  # type: ignore[type-var]
    assert parts[0] == small
    assert parts[1] == structs.replace(call, args=UNSET, args_ref=BlobRef(sha256="a" * 64, size=LARGE + 2))
    assert isinstance(parts[2], cmd.FailRun)
    assert "SetState" in parts[2].error.message
    assert parts[2].seen == 4
    assert len(parts) == 3
    assert store.stored == [bytes(large)]

    (only,) = [decode(cmd.AnyItem, part) for part in await check_in([call], Full(5))]  # type: ignore[type-var]
    assert isinstance(only, cmd.FailRun)
    assert "CallTool" in only.error.message
    assert "the limit is 5" in only.error.message


def test_frames_keep_order_and_limits() -> None:
    parts = [b'"%06d%s"' % (n, b"x" * 10_000) for n in range(200)]
    frames = list(frames_of(parts))
    assert len(frames) > 1
    assert all(len(frame) <= MAX_FRAME_BYTES < MAX_MESSAGE_BYTES for frame in frames)
    assert b",".join(frame[1:-1] for frame in frames) == b",".join(parts)
    assert list(frames_of([])) == [EMPTY]
    assert [len(frame.split(b",")) for frame in frames_of([b"1"] * 4_001)] == [2_000, 2_000, 1]
