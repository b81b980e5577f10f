"""For those who run Waypost: is it healthy, is it behind, how much goes through, how full is it."""

from __future__ import annotations

from panels import GREEN_RED, Json, dashboard, number, quantile, rate, row, series

_HEALTH = [
    row("Health"),
    number(
        "Partitions without owner",
        "max(waypost_partitions) - sum(waypost_partitions_owned)",
        text="Runs of a partition stand still while nobody owns it.",
        steps=GREEN_RED,
    ),
    number("Coordinators", "count(waypost_partitions_owned)"),
    number("Workers", 'max(waypost_peers{kind="worker"})', text="As the coordinators hear them."),
    number("Gateways", 'max(waypost_peers{kind="gateway"})'),
    number("Audit loggers active", "sum(waypost_audit_active)", text="Exactly one appends; others stand by."),
    number("Dead letters, last hour", "sum(increase(waypost_dead_letters_total[1h]))", steps=GREEN_RED),
    number("Runs without a host", "sum(waypost_runs_unhosted)", text="They wait for somebody to host an agent or a tool.", steps=GREEN_RED),
    number("Calls in doubt", 'sum(waypost_calls_in_doubt{wants="person"})', text="A person must settle them.", steps=GREEN_RED),
    number("Approvals waiting", "sum(waypost_approvals_waiting)"),
    number("Breakers of tools open", "count(max by (tool) (waypost_gateway_breaker_open) > 0)", steps=GREEN_RED),
    number("Gaps in the log", "max(waypost_audit_gaps)", steps=GREEN_RED),
    number("Age of these numbers", "time() - max(waypost_overview_timestamp_seconds)", unit="s"),
]
_LAG = [
    row("Lag"),
    series("Waiting in queues", ("sum by (stream) (waypost_queue_pending)", "{{stream}}"), text="Messages that nobody has taken yet."),
    series("Waiting by partition", ('sum by (queue) (waypost_queue_pending{stream="MAILBOX"})', "{{queue}}"), text="Of the mailboxes."),
    series("Waiting by agent and tool", ('topk(10, sum by (queue) (waypost_queue_pending{stream=~"WORK|TOOLS"}))', "{{queue}}")),
    series("In the coordinators' memory", ("sum(waypost_letters_waiting)", "messages not decided")),
    series("Events not in the audit log", ("sum(waypost_audit_lag_events)", "events")),
    series("Delay of the audit log", (quantile(0.99, "waypost_audit_lag_seconds"), "99 %"), unit="s"),
]
_THROUGHPUT = [
    row("Throughput"),
    series("Runs", (rate("waypost_runs_started_total"), "started"), (rate("waypost_runs_ended_total", "status"), "{{status}}"), unit="ops"),
    series("Steps", (rate("waypost_steps_total", "kind"), "{{kind}}"), unit="ops", stacked=True),
    series(
        "Messages and events",
        (rate("waypost_letters_total"), "messages decided"),
        (rate("waypost_events_committed_total"), "events committed"),
        (rate("waypost_dispatches_total"), "dispatches"),
        unit="ops",
    ),
    series("Open runs", ("sum by (status) (waypost_runs)", "{{status}}"), stacked=True),
    series(
        "Size of a commit",
        (quantile(0.5, "waypost_batch_events"), "events, median"),
        (quantile(0.99, "waypost_batch_events"), "events, 99 %"),
        (quantile(0.5, "waypost_batch_letters"), "messages, median"),
    ),
    series("Tool calls", (rate("waypost_gateway_calls_total", "outcome"), "{{outcome}}"), unit="ops"),
]
_LATENCY = [
    row("Latency"),
    series(
        "Commit",
        (quantile(0.5, "waypost_commit_seconds"), "median"),
        (quantile(0.99, "waypost_commit_seconds"), "99 %"),
        unit="s",
        text="One group commit in Postgres. Everything waits for it.",
    ),
    series(
        "Step, 95 %", (quantile(0.95, "waypost_step_seconds", "kind"), "{{kind}}"), unit="s", text="Waits for people and retries included."
    ),
    series("Call in a gateway, 95 %", (quantile(0.95, "waypost_gateway_call_seconds", "tool"), "{{tool}}"), unit="s"),
]
_SATURATION = [
    row("Saturation"),
    series(
        "Workers",
        ("sum(waypost_worker_runs_active) / sum(waypost_worker_concurrency)", "runs at work"),
        ("sum(waypost_worker_effects_running) / sum(waypost_worker_concurrency)", "local steps"),
        unit="percentunit",
        text="Of what they may do at once.",
    ),
    series("Gateways", ("sum(waypost_gateway_running) / sum(waypost_gateway_concurrency)", "calls in hand"), unit="percentunit"),
    series("Streams", ("max by (stream) (waypost_stream_bytes / waypost_stream_max_bytes)", "{{stream}}"), unit="percentunit"),
    series(
        "CPU",
        ("sum by (instance) (rate(process_cpu_seconds_total[$__rate_interval]))", "{{instance}}"),
        unit="percentunit",
        text="One process uses one core at most.",
    ),
    series("Memory", ("max by (instance) (process_resident_memory_bytes)", "{{instance}}"), unit="bytes"),
    series("Open files", ("max by (instance) (process_open_fds)", "{{instance}}")),
    series(
        "Runs in memory",
        ("sum(waypost_runs_cached)", "coordinators"),
        ("sum(waypost_worker_runs_cached)", "workers"),
    ),
    series(
        "Journals read again",
        ("sum(rate(waypost_worker_cache_misses_total[$__rate_interval]))", "misses"),
        ("sum(rate(waypost_worker_cache_hits_total[$__rate_interval]))", "hits"),
        unit="ops",
        text="A miss costs one read of the run's journal.",
    ),
    series("Looks at the whole", ("max(waypost_overview_seconds)", "duration"), unit="s"),
]
_TROUBLE = [
    row("Trouble"),
    series("Commits that failed", (rate("waypost_commits_failed_total", "why"), "{{why}}"), unit="ops"),
    series(
        "Delivered again",
        (rate("waypost_worker_activations_redelivered_total"), "work"),
        (rate("waypost_gateway_redelivered_total"), "tool calls"),
        (rate("waypost_worker_advances_republished_total"), "advances not confirmed"),
        unit="ops",
    ),
    series(
        "Errors of our own",
        (rate("waypost_worker_failures_total"), "workers let a run go"),
        (rate("waypost_gateway_leases_lost_total"), "leases lost"),
        (rate("waypost_gateway_stuck_total"), "tools that will not stop"),
        (rate("waypost_gateway_blocked_total"), "event loop blocked"),
        (rate("waypost_dead_letters_total", "origin"), "dead letters of {{origin}}"),
        unit="ops",
    ),
]
_EDGE = [
    row("Edge and traces"),
    series(
        "Requests to the edge",
        (rate("waypost_edge_requests_total", "route, status"), "{{route}}: {{status}}"),
        unit="ops",
        text="By route as it is declared, and status.",
    ),
    series("Duration of a request, 95 %", (quantile(0.95, "waypost_edge_request_seconds", "route"), "{{route}}"), unit="s"),
    series("Watchers", ("sum by (instance) (waypost_edge_watchers)", "{{instance}}"), text="Live streams of events: console, API."),
    series(
        "Webhooks",
        (rate("waypost_edge_webhooks_total", "webhook, outcome"), "{{webhook}}: {{outcome}}"),
        unit="ops",
        text="Deliveries of events. A failed one is tried again; one that is given up is among the dead letters.",
    ),
    series(
        "Events read for searches",
        (rate("waypost_edge_events_read_total"), "events"),
        unit="ops",
        text="A search makes the trace of each run that it looks at.",
    ),
    series(
        "Traces",
        (rate("waypost_traces_spans_total"), "spans taken by the collector"),
        (rate("waypost_traces_failed_total"), "tries that failed"),
        (rate("waypost_traces_refused_total"), "spans refused"),
        unit="ops",
    ),
    series("Events without spans at the collector", ("min(waypost_traces_behind_events)", "events")),
    series("Runs that cannot be traced", ("sum(waypost_traces_runs_broken)", "runs"), text="Ask the audit log: their record has a hole."),
]
OPERATORS: Json = dashboard(
    "waypost-operators",
    "Waypost: operators",
    "Health, lag, throughput, latency and saturation of every service.",
    [*_HEALTH, *_LAG, *_THROUGHPUT, *_LATENCY, *_SATURATION, *_EDGE, *_TROUBLE],
)
