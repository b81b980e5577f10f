"""What a gateway counts. Owns the names."""

from __future__ import annotations

from collections.abc import Callable

from waypost_io import metrics

_BUCKETS_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The gateway's metrics, in the process's registry."""

    def __init__(self, registry: metrics.Metrics | None = None) -> None:
        self.registry = registry or metrics.Metrics()
        self._calls = self.registry.counter(
            "waypost_gateway_calls_total", "Tool calls handled, by what was answered.", labels=("tool", "outcome")
        )
        self._seconds = self.registry.histogram(
            "waypost_gateway_call_seconds", "From the message to its ack.", labels=("tool",), buckets=_BUCKETS_SECONDS
        )
        self._ledger = self.registry.counter(
            "waypost_gateway_ledger_refusals_total", "Calls that the ledger did not let start or settle, by what was done.", labels=("why",)
        )
        self.concurrency = self.registry.gauge("waypost_gateway_concurrency", "Calls that may be in hand at once.").labels()
        self.running = self.registry.gauge("waypost_gateway_running", "Calls in hand.").labels()
        self.redelivered = self.registry.counter("waypost_gateway_redelivered_total", "Messages that had been delivered before.").labels()
        self.suspects = self.registry.counter(
            "waypost_gateway_suspects_total", "Calls held back because their message came too often."
        ).labels()
        self.dead = self.registry.counter("waypost_gateway_dead_letters_total", "Messages that were no tool calls.").labels()
        self.leases_lost = self.registry.counter("waypost_gateway_leases_lost_total", "Leases lost while the call was running.").labels()

        self.stuck = self.registry.counter(
            "waypost_gateway_stuck_total", "Calls answered without their code, which would not stop.", labels=("tool",)
        )
        self._breaker = self.registry.gauge(
            "waypost_gateway_breaker_open", "1 while the tool's breaker is open, 0.5 while it is half-open.", labels=("tool",)
        )
        self._policy = self.registry.counter("waypost_gateway_policy_total", "Calls judged by policy, by verdict.", labels=("verdict",))
        self._reloads = self.registry.counter(
            "waypost_gateway_reloads_total",
            "Files that changed and were read again, by what they are and what came of it.",
            labels=("what", "outcome"),
        )
        for what in ("policy", "secrets"):
            self._reloads.labels(what, "refused")
        self._blocked = self.registry.counter("waypost_gateway_blocked_total", "Times at which a tool blocked the event loop for too long.")
        self.blocked = self._blocked.labels()

    def breaker(self, tool: str, state: Callable[[], str]) -> None:
        """Show the breaker of a tool, asked whenever metrics are."""
        self._breaker.labels(tool).follow(lambda: {"open": 1.0, "half_open": 0.5}.get(state(), 0.0))

    def expect(self, tool: str) -> None:
        """Begin the series of what is rare at 0: `increase()` does not see the first of a series that begins at 1."""
        self.stuck.labels(tool)

    def policy(self, verdict: str) -> None:
        self._policy.labels(verdict).inc()

    def reload(self, what: str, outcome: str) -> None:
        self._reloads.labels(what, outcome).inc()

    def call(self, tool: str, outcome: str, seconds: float, run_id: str = "") -> None:
        """One message is done with; `outcome` is one of a fixed few, `run_id` the exemplar."""
        self._calls.labels(tool, outcome).inc()
        self._seconds.labels(tool).observe(seconds, run_id)

    def ledger(self, why: str) -> None:
        self._ledger.labels(why).inc()
