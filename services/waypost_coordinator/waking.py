"""When a run gets an activation. At most one is unanswered at a time: two could reach two workers, and both would pay for the work.

The answer (an accepted advance) says how far the worker has read; what came in between goes out then. Only when the answer will
never come (the worker is lost, its advance was rejected, the broker was wiped) is an activation derived again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from waypost_coordinator.batch import Batch
from waypost_coordinator.letters import Letter
from waypost_coordinator.live import LiveRun
from waypost_coordinator.posting import Poster
from waypost_coordinator.registry import Registry
from waypost_io.bus.topology import MAIL_ACK_SECONDS
from waypost_proto.ids import RunId
from waypost_proto.values import Token

REJECTIONS_AT_ONCE = 3
"""After so many rejected advances in a row, the run waits before the next activation: a worker that never fits must not spin."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0

HELD_SECONDS = 0.5 * MAIL_ACK_SECONDS
"""Up to such a pause a rejected advance is not acknowledged before the activation that follows it is on the road."""

Later = Callable[[float, LiveRun, Callable[[], None] | None], None]
"""Ask for a forced activation of a run after so many seconds, and call this when JetStream has it."""


class Waker:
    """Collects, while a batch is decided, which runs want an activation; then sends each at most one."""

    def __init__(self, poster: Poster, registry: Registry, later: Later) -> None:
        self._poster = poster
        self._registry = registry
        self._later = later
        self._wanted: dict[RunId, tuple[LiveRun, bool]] = {}
        self._fresh: dict[RunId, bool] = {}

    def want(self, live: LiveRun, *, forced: bool = False, fresh: bool | None = None) -> None:
        """Something is new. `forced`: whatever was sent before is lost. Not `fresh`: if it was sent, it is not; under the old message id.

        `fresh`: it is surely lost, whoever else asks in the same batch. A take-over, which knows of no loss, often meets in one batch
        with the news that the run's worker is gone: under the id of what lies on that worker's subject nothing would be stored.
        """
        run_id = live.state.run_id
        before = self._wanted.get(run_id)
        self._wanted[run_id] = (live, forced or (before is not None and before[1]))
        if fresh is not None:
            self._fresh[run_id] = fresh or self._fresh.get(run_id, False)

    def answered(self, live: LiveRun, seen: int, token: Token) -> None:
        """An advance, sent under `token`, was accepted: the worker has read up to `seen`.

        A worker takes a step that it asked for from an activation that counts all it has sent. If it sent this before our last one
        came, that one did not, and another has to say it.
        """
        live.rejections = 0
        live.read_up_to(max(live.state.seen, seen))
        if not live.sure:
            live.delivered = min(live.delivered, seen)
            live.sure = True
        if live.sent_to and live.sent_to != live.state.worker:  # the run is another worker's now, which was not told what that one was
            live.delivered = min(live.delivered, live.state.seen)
        late = live.token is None or (token.epoch, token.counter) < (live.token.epoch, live.token.counter)
        if live.state.outside > live.state.seen or (live.state.step_wanted is not None and late):
            self.want(live)

    def rejected(self, live: LiveRun, worker: str, letter: Letter | None = None) -> None:
        """An advance, in `letter`, did not fit. Its sender drops the run; if nobody else has it, it must be given out again.

        What waits for a pause is known to nobody but us: until it is over the message stays unacknowledged, so that whoever takes the
        partition over meanwhile rejects it again, and sends the activation.
        """
        state = live.state
        if not state.wants_worker:
            return
        unanswered = live.delivered > state.seen  # it may have been this one's to answer; the worker that has the run knows it if not
        if worker != state.worker and self._registry.worker_alive(state.worker) and not unanswered:
            return
        live.rejections += 1
        if live.rejections <= REJECTIONS_AT_ONCE:
            self.want(live, forced=True, fresh=True)
        else:
            pause = FIRST_PAUSE_SECONDS * 2 ** min(live.rejections - REJECTIONS_AT_ONCE - 1, 16)
            done = None
            if letter is not None and pause <= HELD_SECONDS:
                done, letter.done = letter.done, None
            self._later(min(pause, LONGEST_PAUSE_SECONDS), live, done)

    def due(self) -> Iterator[tuple[LiveRun, bool]]:
        """The runs that asked since the last call, each once."""
        wanted, self._wanted = self._wanted, {}
        yield from wanted.values()
        self._fresh.clear()

    def forget(self) -> None:
        """A batch was given up."""
        self._wanted = {}
        self._fresh = {}

    def wake(self, batch: Batch, live: LiveRun, *, epoch: int, forced: bool) -> None:
        """Send an activation, unless one is unanswered or nobody hosts the agent (then the run is held, visibly)."""
        state = live.state
        if not state.wants_worker or (live.delivered > state.seen and not forced and not live.unhosted):
            return
        build = self._poster.build_for(live)
        if (build is None) != live.unhosted:
            live.unhosted = build is None
            if live.unhosted:
                batch.touched.add(state.run_id)
            # that it is held no longer is written with its next event: this batch may be committed and its activation never sent,
            # and a row that says "held" makes the next owner look again
        if build is None:
            return
        # an id that the server still knows swallows a repeat, also when the message itself is gone; a second activation to the worker that
        # has the run is harmless, so only one for `any`, which another worker might take as well, keeps its id
        kept = not self._fresh.get(state.run_id, True) and not self._poster.is_sticky(live, build)
        emission = self._poster.emissions.again(epoch) if forced and not kept else 0
        self._poster.activate(batch, live, build=build, epoch=epoch, emission=emission)
