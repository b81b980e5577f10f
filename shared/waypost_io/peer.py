"""A worker's or gateway's place in the registry: announce, heartbeat, answer roll calls, say goodbye.

Owns the protocol of `waypost.registry.*` from the peer's side; what the peer hosts and holds, its owner tells it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, Self

import structlog

from waypost_io.bus.ports import Bus, Message, Subscription
from waypost_proto.codec import decode, encode
from waypost_proto.errors import Denied, WaypostError
from waypost_proto.registry import HEARTBEAT_SECONDS, Announce, Announced, Heartbeat, Held
from waypost_proto.subjects import Subjects

_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 5.0
_FIRST_PATIENCE_SECONDS = 1.0
"""A coordinator that is paused does not answer, another one does; a busy one is given longer from try to try."""
_PATIENCE_SECONDS = 5.0
_SAY_AGAIN = 10
"""Failed announcements between two log lines: an absent coordinator is said at once and then now and again."""

State = Literal["ready", "draining", "stopped"]
_log = structlog.get_logger(__name__)


def _nothing_held() -> list[Held]:
    return []


class Peer:
    """Use as an async context manager; wait for `announced()` before expecting work.

    Entering announces in the background (again and again until a coordinator has committed the definitions), beats every
    `beat_seconds`, and announces again at a reconnect or a roll call. Leaving says `stopped`, so that nobody waits for
    `LOST_AFTER_SECONDS` to learn it; leaving twice is harmless.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        announce: Announce,
        *,
        held: Callable[[], list[Held]] = _nothing_held,
        busy: Callable[[], int] = int,
        beat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._announce = announce
        self._names = [agent.name for agent in announce.agents] + [tool.name for tool in announce.tools]
        self._held = held
        self._busy = busy
        self._beat_seconds = beat_seconds
        self._state: State = "ready"
        self._accepted: asyncio.Future[None] | None = None
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._roll_call: Subscription | None = None

    async def __aenter__(self) -> Self:
        self._accepted = asyncio.get_running_loop().create_future()
        self._roll_call = await self._bus.subscribe(self._subjects.roll_call(), self._on_roll_call)
        self._bus.on_reconnect(self._wanted.set)
        self._wanted.set()
        self._tasks = [
            asyncio.create_task(self._keep_announced(), name="peer-announce"),
            asyncio.create_task(self._keep_beating(), name="peer-heartbeat"),
        ]
        return self

    async def __aexit__(self, *exc: object) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._roll_call is not None:
            await self._roll_call.close()
            self._roll_call = None
        if tasks:
            self.set_state("stopped")

    async def announced(self) -> None:
        """Return once a coordinator has taken what this peer hosts. Raises `Denied` with its reason when it refuses."""
        assert self._accepted is not None, "enter the peer first"
        await asyncio.shield(self._accepted)

    @property
    def is_announced(self) -> bool:
        """For readiness: some coordinator has accepted this peer since it started."""
        return self._accepted is not None and self._accepted.done() and self._accepted.exception() is None

    @property
    def state(self) -> State:
        return self._state

    def set_state(self, state: State) -> None:
        """Change what the heartbeats say and say it now."""
        self._state = state
        self._beat()

    async def _on_roll_call(self, _: Message) -> None:
        self._beat()  # an announcement goes to one coordinator, this to all: the one that asked must know at once who is there
        self._wanted.set()

    async def _keep_beating(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(self._beat_seconds)

    def _beat(self) -> None:
        mine = self._announce
        beat = Heartbeat(
            peer=mine.peer,
            kind=mine.kind,
            build=mine.build,
            names=self._names,
            held=self._held(),
            state=self._state,
            busy=self._busy(),
            frames=mine.frames,
        )
        self._bus.send(self._subjects.heartbeat(), encode(beat))

    async def _keep_announced(self) -> None:
        """Announce whenever it is wanted, until it is answered; a refusal is final for this wish."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._announce_once()

    async def _announce_once(self) -> None:
        delay, patience = _FIRST_DELAY_SECONDS, _FIRST_PATIENCE_SECONDS
        tries = 0
        while True:
            try:
                answer = await self._bus.request(self._subjects.announce(), encode(self._announce), timeout_seconds=patience)
                verdict = decode(Announced, answer.body)
                break
            except WaypostError as error:
                if tries % _SAY_AGAIN == 0:
                    _log.info("no coordinator has answered yet, announcing again", peer=self._announce.peer, error=str(error))
                tries += 1
            await asyncio.sleep(delay)
            delay, patience = min(delay * 2, _MAX_DELAY_SECONDS), min(patience * 2, _PATIENCE_SECONDS)
        self._conclude(verdict)

    def _conclude(self, verdict: Announced) -> None:
        assert self._accepted is not None
        if verdict.ok:
            _log.info("announced", peer=self._announce.peer, hosts=self._names)
            if not self._accepted.done():
                self._accepted.set_result(None)
            return
        _log.error("the coordinator refuses what this peer hosts", peer=self._announce.peer, error=verdict.error)
        if not self._accepted.done():
            self._accepted.set_exception(
                Denied(f"the coordinator refuses {self._announce.kind} {self._announce.peer} ({', '.join(self._names)}): {verdict.error}")
            )
            self._accepted.exception()  # seen: it is logged above, whether or not anybody waits for it
