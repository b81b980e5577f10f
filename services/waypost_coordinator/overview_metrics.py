"""The names of what `overview` shows. Each group is set anew as a whole: what is no longer there is no longer shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from waypost_io.bus.ports import StreamLoad
from waypost_io.metrics import Metrics
from waypost_io.store.overview import OpenApprovals, OpenRuns


class OverviewMetrics:
    """Gauges of one replica; those of all replicas are summed."""

    def __init__(self, metrics: Metrics) -> None:
        self._runs = metrics.gauge("waypost_runs", "Runs that have not ended.", labels=("agent", "status"))
        self._unhosted = metrics.gauge("waypost_runs_unhosted", "Runs that wait for somebody to host an agent or tool.", labels=("agent",))
        self._near = metrics.gauge(
            "waypost_runs_near_deadline", "Runs with less than a tenth of their time left, or none.", labels=("agent",)
        )
        self._deadline = metrics.gauge("waypost_next_deadline_seconds", "Until the next deadline; negative after it.", labels=("agent",))
        self._approvals = metrics.gauge("waypost_approvals_waiting", "Approvals and questions that wait.", labels=("agent", "role"))
        self._oldest = metrics.gauge("waypost_approvals_oldest_seconds", "Age of the one that waits longest.", labels=("agent", "role"))
        self._expiry = metrics.gauge("waypost_approvals_next_expiry_seconds", "Until the next one expires.", labels=("agent", "role"))
        self._doubts = metrics.gauge(
            "waypost_calls_in_doubt", "Tool calls that may have taken effect, by what settles them next.", labels=("agent", "tool", "wants")
        )
        self._pending = metrics.gauge("waypost_queue_pending", "Messages that nobody has taken yet.", labels=("stream", "queue"))
        self._unacked = metrics.gauge("waypost_queue_unacked", "Messages that somebody works on.", labels=("stream", "queue"))
        self._messages = metrics.gauge("waypost_stream_messages", "Messages in the stream.", labels=("stream",))
        self._bytes = metrics.gauge("waypost_stream_bytes", "Size of the stream.", labels=("stream",))
        self._max_bytes = metrics.gauge("waypost_stream_max_bytes", "Size at which the stream is full.", labels=("stream",))
        self._peers = metrics.gauge("waypost_peers", "Workers and gateways that take work, as this replica hears them.", labels=("kind",))
        self._took = metrics.gauge("waypost_overview_seconds", "Duration of the last look at the whole.").labels()
        self._at = metrics.gauge("waypost_overview_timestamp_seconds", "Unix time of the last look at the whole.").labels()

    def runs(self, found: Sequence[OpenRuns], now: float) -> None:
        """What is open, by agent and status."""
        for family in (self._runs, self._unhosted, self._near, self._deadline):
            family.clear()
        unhosted: Counter[str] = Counter()
        near: Counter[str] = Counter()
        deadlines: dict[str, float] = {}
        for each in found:
            self._runs.labels(each.agent, each.status).set(each.count)
            unhosted[each.agent] += each.unhosted
            near[each.agent] += each.near
            if each.next_deadline_at is not None:
                deadlines[each.agent] = min(each.next_deadline_at, deadlines.get(each.agent, each.next_deadline_at))
        for agent, count in unhosted.items():
            self._unhosted.labels(agent).set(count)
            self._near.labels(agent).set(near[agent])
        for agent, at in deadlines.items():
            self._deadline.labels(agent).set(at - now)

    def approvals(self, found: Sequence[OpenApprovals], now: float) -> None:
        """What waits for people."""
        for family in (self._approvals, self._oldest, self._expiry):
            family.clear()
        for each in found:
            self._approvals.labels(each.agent, each.role).set(each.count)
            self._oldest.labels(each.agent, each.role).set(max(now - each.oldest_at, 0.0))
            self._expiry.labels(each.agent, each.role).set(each.next_expiry_at - now)

    def doubts(self, found: Mapping[tuple[str, str, str], int]) -> None:
        """Calls in doubt by agent, tool and what they want."""
        self._doubts.clear()
        for (agent, tool, wants), count in found.items():
            self._doubts.labels(agent, tool, wants).set(count)

    def queues(self, loads: Sequence[tuple[str, StreamLoad]], waiting: Callable[[StreamLoad], Mapping[str, tuple[int, int]]]) -> None:
        """Streams by short name, and what waits in them by queue. None of them where another replica looks."""
        for family in (self._pending, self._unacked, self._messages, self._bytes, self._max_bytes):
            family.clear()
        for stream, load in loads:
            self._messages.labels(stream).set(load.messages)
            self._bytes.labels(stream).set(load.bytes)
            self._max_bytes.labels(stream).set(load.max_bytes)
            for queue, (pending, unacked) in waiting(load).items():
                self._pending.labels(stream, queue).set(pending)
                self._unacked.labels(stream, queue).set(unacked)

    def peers(self, living: Mapping[str, int]) -> None:
        """By kind."""
        for kind, count in living.items():
            self._peers.labels(kind).set(count)

    def looked(self, now: float, took_seconds: float) -> None:
        """The look is over."""
        self._at.set(now)
        self._took.set(took_seconds)
