"""One watcher, whatever is lost, comes twice or is not taken at once: each event once and in order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from waypost_edge.api import sse
from waypost_edge.api.feed import Arrived, Head
from waypost_edge.api.sse import Bell
from waypost_edge.api.watching import Watcher
from waypost_io.store.ports import EventRow, RunGlance
from waypost_proto.ids import RunId

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
HEARD, LOST, TWICE, OLD, LOOK, TAKES, REFUSES, TURN = "heard", "lost", "twice", "old", "look", "takes", "refuses", "turn"
STEPS = st.lists(st.sampled_from([HEARD, HEARD, LOST, TWICE, OLD, LOOK, TAKES, REFUSES, TURN]), max_size=80)


@dataclass
class Recorded:
    """The log of one run, and who watches it."""

    rows: list[EventRow] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    takes: bool = True
    past: int = 0

    async def load_events(self, run_id: RunId, *, after: int = 0, limit: int = 200) -> Sequence[EventRow]:
        """As the store does, and as late as it does."""
        await asyncio.sleep(0)
        found = [row for row in self.rows if row.seq > after][:limit]
        await asyncio.sleep(0)
        return found

    def add(self, kind: str = "signal_received") -> Arrived:
        seq = len(self.rows) + 1
        body = b'{"seq":%d}' % seq
        self.rows.append(event_row(seq, kind, body))
        return Arrived(RUN, Head(seq=seq, type=kind), body)

    def send_now(self, ready: bytes) -> bool:
        if self.takes:
            self.past += 1
            self.sent.append(ready)
        return self.takes

    def glance(self) -> RunGlance:
        return RunGlance(
            run_id=RUN, seq=len(self.rows), open=True, tenant="default", agent="a", status="running", updated_at=0.0, labels={}
        )

    @property
    def seqs(self) -> list[int]:
        return [int(number) for number in re.findall(rb"^id: (\d+)$", b"".join(self.sent), re.MULTILINE)]


def event_row(seq: int, kind: str, body: bytes) -> EventRow:
    return EventRow(run_id=RUN, seq=seq, type=kind, partition=0, position=seq, recorded_at=0.0, body=body)


async def play(steps: Sequence[str]) -> Recorded:
    log, bell = Recorded(), Bell()
    watcher = Watcher(log, RUN, after=0, bell=bell)  # type: ignore[arg-type]
    bell.sends = log.send_now

    async def consume() -> None:
        async for piece in watcher.frames():
            log.sent.append(piece)
            await asyncio.sleep(0)

    consuming = asyncio.ensure_future(consume())
    for step in steps:
        match step:
            case "heard" | "twice":
                arrived = log.add()
                for _ in range(2 if step == TWICE else 1):
                    watcher.take(arrived)
            case "lost":
                log.add()
            case "old" if log.rows:
                watcher.take(Arrived(RUN, Head(seq=1, type="signal_received"), log.rows[0].body))
            case "look":
                watcher.behind(log.glance())
            case "takes" | "refuses":
                log.takes = step == TAKES
            case _:
                for _ in range(6):
                    await asyncio.sleep(0)
    watcher.take(log.add("run_completed"))
    watcher.behind(log.glance())
    async with asyncio.timeout(10):
        await consuming
    return log


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_each_event_once_and_in_order(steps: list[str]) -> None:
    log = asyncio.run(play(steps))
    assert log.seqs == list(range(1, len(log.rows) + 1))
    assert log.sent[-1] == sse.frame(b"{}", kind="end")


def test_what_is_next_goes_past_a_task_that_waits() -> None:
    assert asyncio.run(play([TURN, HEARD, HEARD, HEARD, TURN])).past == 3
    assert asyncio.run(play([TURN, REFUSES, HEARD, TAKES, HEARD, TURN, HEARD])).past == 1, (
        "the first is to be sent by the task: so is the next"
    )
