"""The names of what is measured of runs and their steps, from committed events. `measuring` fills them."""

from __future__ import annotations

from waypost_io import genai_metrics
from waypost_io.metrics import Metrics

STEP_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0)
PEOPLE_BUCKETS_SECONDS = (10.0, 60.0, 300.0, 900.0, 3_600.0, 4 * 3_600.0, 12 * 3_600.0, 24 * 3_600.0, 48 * 3_600.0, 168 * 3_600.0)
SHARE_BUCKETS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0)


LIMITS = ("max_steps", "max_tokens", "max_cost_usd", "max_seconds", "max_repeats", "divergence", "loop")
LOOPS = ("same_call", "cycle", "no_progress", "similar_outputs")


class Measures:
    """Counters and histograms of one replica; those of all replicas are summed."""

    def __init__(self, metrics: Metrics) -> None:
        self.started = metrics.counter("waypost_runs_started_total", "Runs started.", labels=("agent",))
        self.ended = metrics.counter("waypost_runs_ended_total", "Runs ended.", labels=("agent", "status"))
        self.pauses = metrics.counter("waypost_run_pauses_total", "Pauses, by people and by breakers.", labels=("agent",))
        self.steps = metrics.counter("waypost_steps_total", "Steps that are over.", labels=("agent", "kind", "outcome"))
        self.seconds = metrics.histogram(
            "waypost_step_seconds",
            "From a step's request to its result, waits included.",
            labels=("agent", "kind"),
            buckets=STEP_BUCKETS_SECONDS,
        )
        self.calls = metrics.counter("waypost_tool_calls_total", "Tool calls that are over.", labels=("agent", "tool", "outcome"))
        self.failures = metrics.counter("waypost_tool_attempts_failed_total", "Attempts that failed.", labels=("tool", "error"))
        self.deferrals = metrics.counter("waypost_tool_deferrals_total", "Attempts that a gateway put off.", labels=("tool", "why"))
        self.doubts = metrics.counter("waypost_tool_doubts_total", "Calls that came into doubt.", labels=("agent", "tool"))
        self.breakers = metrics.counter("waypost_breaker_trips_total", "Runs stopped at a limit.", labels=("agent", "limit"))
        self.warnings = metrics.counter("waypost_limit_warnings_total", "Runs that came near a limit.", labels=("agent", "limit"))
        self.loops = metrics.counter("waypost_loops_total", "Runs that were found going in circles.", labels=("agent", "kind"))
        self.deadlines = metrics.counter("waypost_deadlines_near_total", "Runs that came near their deadline.", labels=("agent",))
        self.approvals = metrics.counter(
            "waypost_approvals_total", "What happened to approvals and questions.", labels=("agent", "outcome")
        )
        self.people = metrics.histogram(
            "waypost_approval_seconds", "From the request to the decision.", labels=("agent",), buckets=PEOPLE_BUCKETS_SECONDS
        )
        self.tokens = metrics.counter("waypost_spent_tokens_total", "Tokens spent.", labels=("agent",))
        self.cost = metrics.counter("waypost_spent_usd_total", "US dollars spent.", labels=("agent",))
        self.granted = metrics.counter("waypost_granted_usd_total", "US dollars that runs were allowed at their start.", labels=("agent",))
        self.used = metrics.histogram(
            "waypost_budget_used_ratio",
            "Share of a limit that a run and its children used.",
            labels=("agent", "limit"),
            buckets=SHARE_BUCKETS,
        )
        family = metrics.histogram_of
        self.inference = family(genai_metrics.INFERENCE_DURATION)
        self.first_chunk = family(genai_metrics.FIRST_CHUNK)
        self.input_tokens = metrics.counter_of(genai_metrics.INPUT_TOKENS)
        self.output_tokens = metrics.counter_of(genai_metrics.OUTPUT_TOKENS)
        self.cached_tokens = metrics.counter_of(genai_metrics.CACHED_TOKENS)
        self.reasoning_tokens = metrics.counter_of(genai_metrics.REASONING_TOKENS)
        self.invoke_agent = family(genai_metrics.INVOKE_AGENT_DURATION)
        self.inference_calls = family(genai_metrics.INFERENCE_CALLS)
        self.tool_calls = family(genai_metrics.TOOL_CALLS)
        self.execute_tool = family(genai_metrics.EXECUTE_TOOL_DURATION)
        self.workflow = family(genai_metrics.INVOKE_WORKFLOW_DURATION)

    def expect(self, agent: str) -> None:
        """Begin the series of what is rare at 0: `increase()` does not see the first of a series that begins at 1."""
        for status in ("completed", "failed", "cancelled"):
            self.ended.labels(agent, status)
        for limit in LIMITS:
            self.breakers.labels(agent, limit)
        for kind in LOOPS:
            self.loops.labels(agent, kind)
        self.deadlines.labels(agent)
        self.pauses.labels(agent)
