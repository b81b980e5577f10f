"""The tool gateway: the one place that touches the world. Executes tool calls under permits, at most one effect per idempotency key.

gateway        the whole: parts, tasks, drain          handling     one message: decode, act, publish, ack
calls          mode execute, step by step              reconciling  mode reconcile
classify       (effect, ending) → verdict; pure        ledger_rules (row, time) → what to do; pure
permits        the ledger's statements in order        execution    running a tool's code, bounded
allowlist, arguments, results, failures, answers       what goes in and comes out
lane, inflight, keepalive, stops, mailer, dead_letters messages and their lives
guarding, policing, breaking, rates, neighbours        policy and breaker in front of a tool; what gateways share
secrets, reloading                                     what an operator gives, and changes while it runs
time_limit, watchdog                                   code that will not stop, code that blocks
"""

__all__: list[str] = []
