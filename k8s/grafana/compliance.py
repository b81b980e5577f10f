"""For those who answer for it: who approved what, what is in doubt, what is late, and whether the record is whole."""

from __future__ import annotations

from panels import CONSOLE, GREEN_AMBER, GREEN_RED, TO_RUN, Json, dashboard, number, quantile, row, series, table, typed

_OPEN_APPROVALS = """
SELECT a.requested_at AS asked, a.expires_at AS expires, a.role, a.agent, a.tool, a.reason, a.policy_version AS policy,
       a.run_id::text AS run, a.approval_id AS id
  FROM approvals a
 WHERE a.state = 'open'
 ORDER BY a.requested_at
 LIMIT 200
"""
_DECISIONS = """
SELECT decided_at AS decided, state, decided_by AS "by", role, agent, tool, decision_reason AS reason, policy_version AS policy,
       left(args_digest, 16) AS "arguments", run_id::text AS run
  FROM approvals
 WHERE $__timeFilter(decided_at)
 ORDER BY decided_at DESC
 LIMIT 200
"""
_DOUBTS = """
SELECT l.written_at AS permitted, r.agent, l.tool, l.call_id AS step, l.attempt, l.idempotency_key AS key, l.gateway, r.run_id::text AS run
  FROM runs r
 CROSS JOIN LATERAL (SELECT * FROM tool_ledger l WHERE l.run_id = r.run_id AND l.state = 'doubt') l
 WHERE r.open
 ORDER BY l.written_at
 LIMIT 100
"""
_DEADLINES = """
SELECT deadline_at AS deadline, agent, status, created_at AS started, run_id::text AS run
  FROM runs
 WHERE open AND deadline_at IS NOT NULL
 ORDER BY deadline_at
 LIMIT 100
"""
_HEADS = """
SELECT signed_at AS signed, size AS leaves, key_id AS key, split_part(note, E'\\n', 3) AS root
  FROM audit_heads
 ORDER BY size DESC
 LIMIT 20
"""

_APPROVALS = [
    row("Approvals"),
    number("Waiting", "sum(waypost_approvals_waiting)"),
    number("Longest wait", "max(waypost_approvals_oldest_seconds)", unit="s"),
    number("Next one expires in", "min(waypost_approvals_next_expiry_seconds)", unit="s"),
    number("Expired, last day", 'sum(increase(waypost_approvals_total{outcome="expired"}[1d]))', steps=GREEN_AMBER),
    number("Denied, last day", 'sum(increase(waypost_approvals_total{outcome="denied"}[1d]))'),
    number("Escalated, last day", 'sum(increase(waypost_approvals_total{outcome="escalated"}[1d]))', steps=GREEN_AMBER),
    series("Waiting by role", ("sum by (role) (waypost_approvals_waiting)", "{{role}}"), stacked=True),
    series("What became of them", ("sum by (outcome) (increase(waypost_approvals_total[1h]))", "{{outcome}}"), text="Per hour."),
    series(
        "From request to decision",
        (quantile(0.5, "waypost_approval_seconds", "agent"), "{{agent}}, median"),
        (quantile(0.95, "waypost_approval_seconds", "agent"), "{{agent}}, 95 %"),
        unit="s",
    ),
    table("Waiting for a decision", _OPEN_APPROVALS, links=TO_RUN),
    table("Decided", _DECISIONS, text="Who decided what, under which policy, about which exact arguments.", links=TO_RUN),
]
_DOUBT = [
    row("In doubt"),
    number("For a person to settle", 'sum(waypost_calls_in_doubt{wants="person"})', steps=GREEN_RED),
    number("The hook will be asked", 'sum(waypost_calls_in_doubt{wants="reconcile"})'),
    number("Refused by policy, last day", 'sum(increase(waypost_gateway_policy_total{verdict="deny"}[1d]))'),
    series("Calls in doubt", ("sum by (agent, tool) (waypost_calls_in_doubt)", "{{agent}}: {{tool}}"), width=12),
    table("Calls that may have taken effect", _DOUBTS, text="Ask the receiver by the key; then `waypost runs resolve`.", links=TO_RUN),
]
_LATE = [
    row("Deadlines"),
    number("Near or past", "sum(waypost_runs_near_deadline)", steps=GREEN_AMBER),
    number("Next deadline in", "min(waypost_next_deadline_seconds)", unit="s"),
    series("Near or past, by agent", ("sum by (agent) (waypost_runs_near_deadline)", "{{agent}}")),
    series("Came near", ("sum by (agent) (increase(waypost_deadlines_near_total[1h]))", "{{agent}}"), text="Runs per hour."),
    table("Open runs with a deadline", _DEADLINES, links=TO_RUN),
]
_AUDIT = [
    row("The audit log"),
    number("Leaves", "max(waypost_audit_leaves)"),
    number("Not signed yet", "max(waypost_audit_leaves) - max(waypost_audit_head_leaves)"),
    number("Age of the head", "time() - max(waypost_audit_head_time_seconds)", unit="s"),
    number("Events behind", "max(sum by (instance) (waypost_audit_lag_events))"),
    number("Gaps", "max(waypost_audit_gaps)", text="Events that are missing from the log.", steps=GREEN_RED),
    number("Contradicts itself", "max(waypost_audit_broken)", text="Nothing is appended until a person has looked.", steps=GREEN_RED),
    series(
        "Growth",
        ("sum(rate(waypost_audit_appended_total[$__rate_interval]))", "leaves per second"),
        ("sum(rate(waypost_events_committed_total[$__rate_interval]))", "events per second"),
    ),
    series("Delay", (quantile(0.99, "waypost_audit_lag_seconds"), "99 %"), unit="s"),
    series("Heads signed", ("sum(increase(waypost_audit_heads_total[1h]))", "per hour")),
    series(
        "Anchors",
        ("max by (anchor) (waypost_audit_anchor_behind_leaves)", "{{anchor}}: leaves behind"),
        ("max by (anchor) (waypost_audit_anchor_conflict)", "{{anchor}}: contradicts"),
        text="Places outside of the database that keep heads.",
    ),
    series(
        "Heads that could not be kept",
        ("sum by (anchor) (increase(waypost_audit_anchor_failures_total[1h]))", "{{anchor}}"),
        text="Per hour; they are tried again.",
    ),
    number("Oldest anchor", "max(time() - waypost_audit_anchor_time_seconds)", unit="s", text="Since an anchor last got a head.", width=8),
    table("Signed heads", _HEADS, text="Compare them with those that your anchors keep: `waypost audit verify`."),
]
COMPLIANCE: Json = dashboard(
    "waypost-compliance",
    "Waypost: compliance",
    "Approvals, calls in doubt, deadlines, and the head of the audit log.",
    [*_APPROVALS, *_DOUBT, *_LATE, *_AUDIT],
    variables=[typed("console", "Console", CONSOLE)],
    since="now-24h",
)
