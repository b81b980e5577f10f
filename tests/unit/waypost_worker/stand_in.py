"""A small coordinator for tests of the worker: it keeps journals, fences advances by digest, and does what its script says.

It judges nothing of a real coordinator's work; it records what the worker sends, so that tests can.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any, Self

import msgspec
from msgspec import UNSET, Raw

from tests.unit.waypost_worker.journals import Run, Seen
from waypost_core.checkpoints import saved
from waypost_io.bus.ports import Bus, ConsumerSpec, Message, Puller
from waypost_io.bus.topology import stream_specs
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.api import PayloadGet, RunRef
from waypost_proto.codec import decode, decode_union, encode
from waypost_proto.errors import NotFound, TransientError
from waypost_proto.ids import CallId, RunId, chain_digest, child_run_id, digest_of, uuid7
from waypost_proto.limits import BLOB_CHUNK_BYTES, MAX_ENTRY_BYTES_PER_ACTIVATION
from waypost_proto.mailbox import Advance, AnyMailed, MailFrame
from waypost_proto.registry import Announce, Announced, Heartbeat
from waypost_proto.subjects import ANY_WORKER, Subjects
from waypost_proto.values import BlobRef, Mark, Token
from waypost_proto.work import Accepted, Activation, Confirm, Entry, JournalPage, Rejected, Stop

_ITEMS = list[cmd.AnyItem]
ToolScript = Callable[[dict[str, Any]], Any]


class StandIn:
    """Use as an async context manager on an open bus."""

    def __init__(self, bus: Bus, subjects: Subjects, *, partitions: int = 2) -> None:
        self.bus, self.subjects, self.partitions = bus, subjects, partitions
        self.runs: dict[RunId, Run] = {}
        self.advances: list[Seen] = []
        self.tools: dict[str, ToolScript] = {}
        self.blobs: dict[str, bytes] = {}
        self.announced: list[Announce] = []
        self.heartbeats: list[Heartbeat] = []
        self.journal_reads: list[RunRef] = []
        self.told: dict[RunId, int] = {}
        """How many entries the last journal that was read had."""
        self.refuse = ""
        self.confirming = True
        self.accepting = True
        """False: advances are taken off the stream and forgotten, as by a wiped server."""
        self.page_entries = 1_000
        self.journal_gate = asyncio.Event()
        self.journal_gate.set()
        self.epoch = 1
        self.sender = ""
        """Says that it takes frames."""
        self.frames: list[int] = []
        """How many advances each frame had."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.make_streams()
        self._service = await self.bus.serve(
            "waypost",
            "1.0.0",
            "stand-in",
            [
                _endpoint(self.subjects, "runs", "journal", self._journal),
                _endpoint(self.subjects, "payloads", "get", self._get),
                _endpoint(self.subjects, "payloads", "put", self._put),
            ],
        )
        self._subscriptions = [
            await self.bus.subscribe(self.subjects.announce(), self._announce),
            await self.bus.subscribe(self.subjects.heartbeat(), self._heartbeat),
        ]
        for partition in range(self.partitions):
            self._tasks.append(asyncio.create_task(self._pull(partition)))
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscription in self._subscriptions:
            await subscription.close()
        await self._service.close()

    async def make_streams(self) -> None:
        for spec in stream_specs(self.subjects, partitions=self.partitions):
            await self.bus.ensure_stream(spec)

    async def make_streams_again(self) -> bool:
        """After a wipe, as soon as the server is reached."""
        try:
            await self.make_streams()
        except TransientError:
            return False
        return True

    # -- what tests do

    def start(self, agent: str, build: str, value: Any = None, *, steps_left: int | None = None, at: float | None = None) -> Run:
        """Record (now, or at another time) and dispatch a new run."""
        run = self.begin(agent, build, value, steps_left=steps_left, at=at)
        self.activate(run)
        return run

    def begin(self, agent: str, build: str, value: Any = None, *, steps_left: int | None = None, at: float | None = None) -> Run:
        """Record a new run and say so to nobody."""
        run_id = uuid7(int(time.time() * 1000), os.urandom(10))
        run = self.runs[run_id] = Run(run_id, agent, build, steps_left=steps_left)
        run.record(ev.RunStarted(input=Raw(encode(value))), at=at)
        return run

    def signal(self, run: Run, name: str, payload: Any = None) -> None:
        run.record(ev.SignalReceived(name=name, payload=Raw(encode(payload))))
        self.activate(run)

    def complete_call(self, run: Run, call_id: CallId, tool: str, result: Any) -> None:
        body = encode(result)
        large = len(body) > BLOB_CHUNK_BYTES
        ref = self.keep(body) if large else UNSET
        run.record(ev.ToolCallCompleted(call_id=call_id, tool=tool, attempt=1, result=UNSET if large else Raw(body), result_ref=ref))

    def keep(self, body: bytes) -> BlobRef:
        self.blobs[digest_of(body)] = body
        return BlobRef(sha256=digest_of(body), size=len(body))

    def activation(self, run: Run, *, entries: bool = True) -> Activation:
        """A new activation of the run as it stands."""
        run.counter += 1
        new = [entry for entry in run.entries if entry.type in ev.OUTSIDE and entry.seq > run.seen]
        entries = entries and sum(len(bytes(entry.data)) for entry in new) < MAX_ENTRY_BYTES_PER_ACTIVATION
        return Activation(
            run_id=run.run_id,
            agent=run.agent,
            build=run.build,
            token=Token(epoch=self.epoch, counter=run.counter),
            base=run.digest,
            seen=run.seen,
            upto=run.outside,
            entries=new if entries else [],
            fetch=not entries,
            steps_left=run.steps_left,
            sender=self.sender,
        )

    def activate(self, run: Run, *, to: str | None = None, entries: bool = True) -> Activation:
        activation = self.activation(run, entries=entries)
        self.dispatch(activation, to=to or run.worker or ANY_WORKER)
        return activation

    def dispatch(self, activation: Activation, *, to: str = ANY_WORKER) -> None:
        """Publish an activation, also one that was published before."""
        subject = self.subjects.work(activation.agent, activation.build, to)
        self.bus.publish(subject, encode(activation))  # safe to drop: the bus sends it at once

    def stop(self, run: Run, why: Any, call_id: CallId | None = None) -> None:
        self.bus.send(self.subjects.stop(), encode(Stop(run_id=run.run_id, why=why, call_id=call_id)))

    def reject(self, worker: str, run: Run, base: str) -> None:
        self.bus.send(self.subjects.confirm(worker), encode(Confirm(rejected=[Rejected(run_id=run.run_id, base=base, reason="test")])))

    def of(self, run: Run, *verdicts: str) -> list[Seen]:
        """The advances of a run, of these verdicts or all."""
        return [seen for seen in self.advances if seen.advance.run_id == run.run_id and (not verdicts or seen.verdict in verdicts)]

    # -- mailbox

    async def _pull(self, partition: int) -> None:
        stream = self.subjects.stream("MAILBOX")
        spec = ConsumerSpec(stream=stream, name=f"stand-in-{partition}", filter_subject=self.subjects.mail_partition(partition))
        while True:
            try:
                await self.bus.ensure_consumer(spec)
                await self._take(self.bus.pull(stream, spec.name))
            except (NotFound, TransientError):
                await asyncio.sleep(0.02)

    async def _take(self, puller: Puller) -> None:
        try:
            while True:
                for delivery in await puller.next_batch(100):
                    mail = decode_union(AnyMailed, delivery.body)
                    if isinstance(mail, MailFrame):
                        self.frames.append(len(mail.mail))
                    for advance in [decode_union(Advance, body) for body in mail.mail] if isinstance(mail, MailFrame) else [mail]:
                        self.advance(advance)
                    delivery.ack()
        finally:
            await puller.close()

    def advance(self, advance: Advance) -> None:
        """Judge one advance as the coordinator does, record it, confirm it, and do what its items ask."""
        run = self.runs[advance.run_id]
        items = decode(_ITEMS, advance.items)  # type: ignore[type-var]
        digest = chain_digest(advance.base, bytes(advance.items)) if items else advance.base
        if not self.accepting:
            self.advances.append(Seen(advance, items, "lost"))
            return
        if advance.base != run.digest:
            repeat = digest == run.digest
            self.advances.append(Seen(advance, items, "repeat" if repeat else "rejected"))
            self._answer(advance, digest, ok=repeat)
            return
        self.advances.append(Seen(advance, items, "accepted"))
        new = [self._apply(run, item) for item in items]
        run.digest, run.seen = digest, advance.seen
        run.running, run.worker = advance.running, advance.worker
        if items:
            self._mark(run, advance, digest)
        if run.status in ("completed", "failed"):
            self.stop(run, "ended")
        self._answer(advance, digest, ok=True)
        if any(new):
            self.activate(run)

    def _answer(self, advance: Advance, digest: str, *, ok: bool) -> None:
        if not self.confirming:
            return
        run_id = advance.run_id
        verdict = (
            Confirm(accepted=[Accepted(run_id=run_id, digest=digest, seen=advance.seen)])
            if ok
            else Confirm(rejected=[Rejected(run_id=run_id, base=advance.base, reason="another journal")])
        )
        self.bus.send(self.subjects.confirm(advance.worker), encode(verdict))

    def _mark(self, run: Run, advance: Advance, digest: str) -> None:
        mark = Mark(digest=digest, seen=advance.seen, running=advance.running, worker=advance.worker, build=advance.build)
        for index in range(len(run.entries) - 1, -1, -1):
            entry = run.entries[index]
            if entry.type not in ev.OUTSIDE:
                data = decode(ev.AnyData, entry.data)  # type: ignore[type-var]
                marked = encode(msgspec.structs.replace(data, mark=mark))
                run.entries[index] = msgspec.structs.replace(entry, data=Raw(marked))
                return

    def _apply(self, run: Run, item: cmd.AnyItem) -> bool:  # noqa: C901 - one arm per kind of item
        """Record the item's event; True if something outside followed at once."""
        seen = item.seen
        match item:
            case cmd.CallTool():
                args = bytes(item.args) if isinstance(item.args, Raw) else self.blobs[item.args_ref.sha256]  # type: ignore[union-attr]
                run.record(
                    ev.ToolCallRequested(
                        seen=seen,
                        call_id=item.id,
                        tool=item.tool,
                        args=item.args,
                        args_ref=item.args_ref,
                        args_digest=digest_of(args),
                        idempotency_key=f"{run.run_id}/{item.id}",
                    )
                )
                script = self.tools.get(item.tool)
                if script is not None:
                    self.complete_call(run, item.id, item.tool, script(msgspec.json.decode(args)))
                return script is not None
            case cmd.FinishStep(error=None):
                run.record(
                    ev.StepCompleted(seen=seen, call_id=item.id, name=item.name, at=item.at, result=item.result, result_ref=item.result_ref)
                )
            case cmd.FinishStep():
                run.record(ev.StepFailed(seen=seen, call_id=item.id, name=item.name, at=item.at, error=item.error))  # type: ignore[arg-type]
            case cmd.RequestStep():
                run.record(ev.StepRequested(seen=seen, call_id=item.id, name=item.name))
            case cmd.StartTimer():
                run.record(ev.TimerStarted(seen=seen, call_id=item.id, fire_at=item.fire_at))
            case cmd.AwaitSignal():
                run.record(ev.SignalAwaited(seen=seen, call_id=item.id, name=item.name))
            case cmd.StartChild():
                child = child_run_id(run.run_id, item.id)
                run.record(ev.ChildRequested(seen=seen, call_id=item.id, child_agent=item.agent, child_run_id=child, input=item.input))
            case cmd.CancelCall():
                run.record(ev.SignalWaitCancelled(seen=seen, call_id=item.target))
            case cmd.SaveCheckpoint() | cmd.SaveWrites():
                run.record(saved(item))
            case cmd.SetState():
                run.record(ev.StateChanged(seen=seen, value=item.value))
            case cmd.CompleteRun():
                run.status, run.result = "completed", item
                run.record(ev.RunCompleted(seen=seen, result=item.result, result_ref=item.result_ref))
            case cmd.FailRun():
                run.status, run.error = "failed", item.error
                run.record(ev.RunFailed(seen=seen, error=item.error))
            case cmd.ReportDivergence():
                run.status, run.error = "paused", item
        return False

    # -- registry and API

    async def _announce(self, message: Message) -> None:
        self.announced.append(decode(Announce, message.body))
        self.bus.send(message.reply, encode(Announced(ok=not self.refuse, error=self.refuse)))

    async def _heartbeat(self, message: Message) -> None:
        beat = decode(Heartbeat, message.body)
        self.heartbeats.append(beat)
        if beat.state == "stopped":
            for run in self.runs.values():
                if run.worker == beat.peer:
                    run.worker = ""
                    if run.status == "running" and (run.running or run.outside > run.seen):
                        self.activate(run)

    async def _journal(self, message: Message) -> bytes:
        request = decode(RunRef, message.body)
        self.journal_reads.append(request)
        await self.journal_gate.wait()
        run = self.runs.get(RunId(request.run_id))
        if run is None:
            raise NotFound(f"no run {request.run_id}")
        self.told[run.run_id] = len(run.entries)
        after = [entry for entry in run.entries if entry.seq > request.after]
        page: list[Entry] = []
        for entry in after[: min(self.page_entries, request.limit)]:
            if page and sum(len(bytes(other.data)) + 100 for other in page) > MAX_ENTRY_BYTES_PER_ACTIVATION:
                break
            page.append(entry)
        return encode(
            JournalPage(
                run_id=run.run_id,
                agent=run.agent,
                build=run.build,
                digest=run.digest,
                seen=run.seen,
                last_seq=len(run.entries),
                status=run.status,
                entries=page,
                next_after=page[-1].seq if len(page) < len(after) else None,
            )
        )

    async def _get(self, message: Message) -> tuple[bytes, dict[str, str]]:
        request = decode(PayloadGet, message.body)
        data = self.blobs.get(request.sha256)
        if data is None:
            raise NotFound(f"no payload {request.sha256}")
        start = request.index * BLOB_CHUNK_BYTES
        chunks = max(1, -(-len(data) // BLOB_CHUNK_BYTES))
        return data[start : start + BLOB_CHUNK_BYTES], {"Waypost-Chunks": str(chunks)}

    async def _put(self, message: Message) -> bytes:
        """Chunks of an upload are put together once all have come."""
        sha256, chunks = message.headers["Waypost-Sha256"], int(message.headers["Waypost-Chunks"])
        parts = self.__dict__.setdefault("_uploads", {}).setdefault(sha256, {})
        parts[int(message.headers["Waypost-Index"])] = message.body
        if len(parts) == chunks:
            self.blobs[sha256] = b"".join(parts[index] for index in range(chunks))
        return b"{}"


def _endpoint(subjects: Subjects, noun: str, verb: str, handler: Any) -> Any:
    from waypost_io.bus.ports import Endpoint

    return Endpoint(f"{noun}-{verb}", subjects.api(noun, verb), handler)


def renumbered(activation: Activation, counter: int) -> Activation:
    """The same activation under another token of the first epoch."""
    return msgspec.structs.replace(activation, token=Token(epoch=1, counter=counter))
