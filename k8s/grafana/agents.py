"""For those who own agents: what their runs do, what that costs, which tools let them down, and what one run was thinking."""

from __future__ import annotations

from panels import (
    CONSOLE,
    GREEN_AMBER,
    GREEN_RED,
    TO_RUN,
    Json,
    choice,
    dashboard,
    derived,
    number,
    quantile,
    rate,
    row,
    series,
    table,
    trace,
    typed,
)

_AGENT = '{agent=~"$agent"}'
_FAILED = '{agent=~"$agent",outcome="failed"}'
_GENAI = '{gen_ai_agent_name=~"$agent"}'

_RUNS = [
    row("Runs of $agent"),
    number("Open", f"sum(waypost_runs{_AGENT})"),
    number("Paused", 'sum(waypost_runs{agent=~"$agent",status="paused"})', steps=GREEN_AMBER),
    number("Waiting for people", f"sum(waypost_approvals_waiting{_AGENT})"),
    number("Failed, last hour", 'sum(increase(waypost_runs_ended_total{agent=~"$agent",status="failed"}[1h]))', steps=GREEN_AMBER),
    number("In doubt", f"sum(waypost_calls_in_doubt{_AGENT})", steps=GREEN_RED),
    number("Near their deadline", f"sum(waypost_runs_near_deadline{_AGENT})", steps=GREEN_AMBER),
    series("Open runs", (f"sum by (status) (waypost_runs{_AGENT})", "{{status}}"), stacked=True),
    series(
        "Started and ended",
        (rate("waypost_runs_started_total", where=_AGENT), "started"),
        (rate("waypost_runs_ended_total", "status", _AGENT), "{{status}}"),
        unit="ops",
    ),
    series(
        "Duration of a run",
        (quantile(0.5, "gen_ai_invoke_agent_duration_seconds", "gen_ai_agent_name", _GENAI), "{{gen_ai_agent_name}}, median"),
        (quantile(0.95, "gen_ai_invoke_agent_duration_seconds", "gen_ai_agent_name", _GENAI), "{{gen_ai_agent_name}}, 95 %"),
        unit="s",
        text="Click a dot to see that run's trace.",
    ),
]
_COST = [
    row("Cost and tokens of $agent"),
    series("US dollars per hour", (f"3600 * {rate('waypost_spent_usd_total', 'agent', _AGENT)}", "{{agent}}"), unit="currencyUSD"),
    series(
        "Budgets burnt",
        (f"{rate('waypost_spent_usd_total', 'agent', _AGENT)} / {rate('waypost_granted_usd_total', 'agent', _AGENT)}", "{{agent}}"),
        unit="percentunit",
        text="What is spent, of what the runs that started were allowed. Above 1, budgets are raised, or old runs spend.",
    ),
    series(
        "Budget used at the end, 95 %",
        (quantile(0.95, "waypost_budget_used_ratio", "limit", _AGENT), "{{limit}}"),
        unit="percentunit",
    ),
    series("Tokens of the agent", (rate("waypost_spent_tokens_total", "agent", _AGENT), "{{agent}}"), text="Per second."),
    series(
        "Tokens by model",
        (rate("gen_ai_client_inference_usage_input_tokens_total", "gen_ai_request_model"), "{{gen_ai_request_model}} in"),
        (rate("gen_ai_client_inference_usage_output_tokens_total", "gen_ai_request_model"), "{{gen_ai_request_model}} out"),
        (rate("gen_ai_client_inference_usage_cache_read_input_tokens_total", "gen_ai_request_model"), "{{gen_ai_request_model}} cached"),
        text="Per second, of all agents.",
    ),
    series(
        "Model calls, 95 %",
        (quantile(0.95, "gen_ai_client_inference_duration_seconds", "gen_ai_request_model"), "{{gen_ai_request_model}}"),
        unit="s",
        text="Of all agents, retries included.",
    ),
]
_TOOLS = [
    row("Tools of $agent"),
    series("Calls", (rate("waypost_tool_calls_total", "tool, outcome", _AGENT), "{{tool}} {{outcome}}"), unit="ops"),
    series(
        "Share that fails",
        (
            f"{rate('waypost_tool_calls_total', 'tool', _FAILED)} / {rate('waypost_tool_calls_total', 'tool', _AGENT)}",
            "{{tool}}",
        ),
        unit="percentunit",
    ),
    series(
        "Execution, 95 %",
        (quantile(0.95, "gen_ai_execute_tool_duration_seconds", "gen_ai_tool_name", _GENAI), "{{gen_ai_tool_name}}"),
        unit="s",
    ),
    series("Attempts that failed", (rate("waypost_tool_attempts_failed_total", "tool, error"), "{{tool}}: {{error}}"), unit="ops"),
    series(
        "Put off by gateways",
        (rate("waypost_tool_deferrals_total", "tool, why"), "{{tool}}: {{why}}"),
        ("max by (tool) (waypost_gateway_breaker_open)", "{{tool}}: breaker"),
    ),
    series("Came into doubt", (f"sum by (tool) (increase(waypost_tool_doubts_total{_AGENT}[1h]))", "{{tool}}"), text="Per hour."),
]
_LOOPS = [
    row("Loops and limits of $agent"),
    series(
        "Going in circles",
        (f"sum by (agent, kind) (increase(waypost_loops_total{_AGENT}[1h]))", "{{agent}}: {{kind}}"),
        text="Runs per hour.",
    ),
    series(
        "Stopped at a limit, or near it",
        (f"sum by (limit) (increase(waypost_breaker_trips_total{_AGENT}[1h]))", "stopped: {{limit}}"),
        (f"sum by (limit) (increase(waypost_limit_warnings_total{_AGENT}[1h]))", "near: {{limit}}"),
        text="Runs per hour.",
    ),
    series(
        "Calls of one run, 95 %",
        (quantile(0.95, "gen_ai_invoke_agent_inference_calls", "gen_ai_agent_name", _GENAI), "{{gen_ai_agent_name}}: models"),
        (quantile(0.95, "gen_ai_invoke_agent_tool_calls", "gen_ai_agent_name", _GENAI), "{{gen_ai_agent_name}}: tools"),
    ),
]
_LATEST = """
SELECT run_id::text AS run, agent, status, created_at AS started, updated_at AS "last event", build
  FROM runs
 WHERE (agent = ANY (string_to_array('${agent:csv}', ',')) OR '${agent:csv}' LIKE '%*%')
   AND run_id >= (lpad(to_hex(${__from}::bigint), 12, '0') || repeat('0', 20))::uuid
 ORDER BY run_id DESC
 LIMIT 50
"""
_THOUGHTS = """
WITH log AS (
    SELECT seq, recorded_at, type, convert_from(data, 'UTF8')::json -> 'data' AS d
      FROM events
     WHERE run_id = nullif('$run', '')::uuid
)
SELECT r.seq, r.recorded_at AS at,
       CASE r.type WHEN 'step_completed' THEN 'model' WHEN 'tool_call_requested' THEN 'tool'
            WHEN 'child_requested' THEN 'child' ELSE replace(r.type, '_', ' ') END AS what,
       coalesce(r.d ->> 'tool', r.d ->> 'child_agent', r.d #>> '{model,model}', r.d ->> 'reason', r.d ->> 'message',
                r.d ->> 'question') AS name,
       r.d #>> '{model,intent}' AS intent,
       left(r.d ->> 'args', 300) AS arguments,
       coalesce(replace(o.type, 'tool_call_', ''), r.d #>> '{model,finish}', r.d ->> 'limit') AS result,
       left(coalesce(o.d ->> 'result', o.d #>> '{error,message}', r.d #>> '{error,message}'), 300) AS "answer or error",
       round(extract(epoch FROM o.recorded_at - r.recorded_at)::numeric, 3) AS seconds,
       round((coalesce(r.d #>> '{model,cost_micros}', r.d #>> '{usage,cost_micros}')::numeric / 1000000), 6) AS "US dollars"
  FROM log r
  LEFT JOIN LATERAL (
       SELECT * FROM log o
        WHERE o.d ->> 'call_id' = r.d ->> 'call_id' AND o.seq > r.seq AND r.type IN ('tool_call_requested', 'child_requested')
          AND o.type IN ('tool_call_completed', 'tool_call_failed', 'tool_call_cancelled', 'tool_call_in_doubt',
                         'child_completed', 'child_failed')
        ORDER BY o.seq DESC LIMIT 1) o ON true
 WHERE r.type IN ('tool_call_requested', 'child_requested', 'breaker_tripped', 'loop_detected', 'run_paused', 'run_resumed',
                  'question_asked', 'approval_requested', 'approval_granted', 'approval_denied', 'instruction_added',
                  'run_completed', 'run_failed', 'run_cancelled')
    OR (r.type IN ('step_completed', 'step_failed') AND r.d -> 'model' IS NOT NULL)
 ORDER BY r.seq
 LIMIT 500
"""
_RUN = [
    row("One run"),
    table("Latest runs", _LATEST, text="Choose one: click its id.", links=TO_RUN),
    table(
        "Thought process of $run",
        _THOUGHTS,
        text="From the event log: intent, tool, arguments, result, time and cost.",
        width=12,
        height=18,
    ),
    trace("Trace of $run", "$trace", text="The same run, span by span. A run that waits shows its open spans."),
]
AGENTS: Json = dashboard(
    "waypost-agents",
    "Waypost: agents",
    "What agents do, what it costs, which tools fail them, and the thought process of one run beside its trace.",
    [*_RUNS, *_COST, *_TOOLS, *_LOOPS, *_RUN],
    variables=[
        choice("agent", "Agent", "label_values(waypost_runs_started_total, agent)"),
        typed("run", "Run"),
        typed("console", "Console", CONSOLE),
        derived("trace", "SELECT replace('$run', '-', '')"),
    ],
    since="now-6h",
)
