"""Names of OpenTelemetry's conventions that Waypost's traces and metrics use, and Waypost's own beside them. Owns names, nothing else.

The GenAI conventions are all in "Development" and change: these are from github.com/open-telemetry/semantic-conventions-genai at commit
`CONVENTIONS_COMMIT`. To follow a newer commit, change the names here and say so in the changelog; nothing else spells them. The general
names (error, messaging, service) are from the stable part of github.com/open-telemetry/semantic-conventions, version 1.41.
"""

from __future__ import annotations

from typing import Final

CONVENTIONS_COMMIT: Final = "e8fc5751506258db1459d1bde47994e01dee922e"

# -- what is being done (`gen_ai.operation.name`); span names are `<operation> <name>`

CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
PLAN: Final = "plan"

# -- attributes of GenAI spans

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_VERSION: Final = "gen_ai.agent.version"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105 - a name
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

# -- GenAI metrics

METRIC_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
METRIC_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
METRIC_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
METRIC_REASONING_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
METRIC_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
METRIC_INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
METRIC_INVOKE_AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
METRIC_INVOKE_WORKFLOW_DURATION: Final = "gen_ai.invoke_workflow.duration"
METRIC_EXECUTE_TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
METRIC_INVOKE_AGENT_INFERENCE_CALLS: Final = "gen_ai.invoke_agent.inference_calls"
METRIC_INVOKE_AGENT_TOOL_CALLS: Final = "gen_ai.invoke_agent.tool_calls"

# -- general conventions

ERROR_TYPE: Final = "error.type"
SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_VERSION: Final = "service.version"
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_DESTINATION_TEMPLATE: Final = "messaging.destination.template"

# -- Waypost's own attributes of spans

KIND: Final = "waypost.kind"
"""What a span stands for: run, activation, reasoning_step, model_call, step, tool_call, attempt, reconcile, message, wait, child."""
RUN_STATUS: Final = "waypost.run.status"
TENANT: Final = "waypost.tenant"
LABEL: Final = "waypost.label."
"""Followed by the label's name."""
STARTED_BY: Final = "waypost.started_by"
PARENT_RUN: Final = "waypost.parent_run_id"
CHILD_RUN: Final = "waypost.child_run_id"
SEQ: Final = "waypost.seq"
"""The event from which the span's id is derived."""
PENDING: Final = "waypost.pending"
"""The span has not ended: its end is the moment at which it was asked for. Only in answers of the edge, never exported."""
STEP_NAME: Final = "waypost.step.name"
INTENT: Final = "waypost.intent"
BECAUSE: Final = "waypost.because"
"""The call id of the model call that chose a tool."""
CALL_ID: Final = "waypost.call_id"
EFFECT: Final = "waypost.effect"
ATTEMPT: Final = "waypost.attempt"
ATTEMPTS: Final = "waypost.attempts"
EXECUTION_SECONDS: Final = "waypost.execution_seconds"
"""How long the tool's own code ran, as its gateway measured it; the rest of an attempt is the road."""
VIA: Final = "waypost.via"
"""Where a result came from: call, ledger, reconcile, person."""
ARGS_DIGEST: Final = "waypost.args_digest"
IDEMPOTENCY_KEY: Final = "waypost.idempotency_key"
TAINT: Final = "waypost.taint"
COST_USD: Final = "waypost.cost_usd"
WAIT: Final = "waypost.wait"
"""What is waited for: timer, signal, approval, answer, retry, breaker, busy, host, budget, doubt, paused, child."""
UNTIL: Final = "waypost.wait_until"
"""When a wait is over at the latest, or a retry is due, RFC 3339."""
DECIDED_BY: Final = "waypost.decided_by"
DECISION: Final = "waypost.decision"
DECISION_REASON: Final = "waypost.decision_reason"
ROLE: Final = "waypost.approval.role"
APPROVAL_ID: Final = "waypost.approval.id"
POLICY_RULE: Final = "waypost.policy.rule"
POLICY_VERSION: Final = "waypost.policy.version"
REASON: Final = "waypost.reason"
INPUT: Final = "waypost.input"
OUTPUT: Final = "waypost.output"
MODEL_ATTEMPTS: Final = "waypost.model.attempts"
REQUEST_DIGEST: Final = "waypost.model.request_digest"
"""Two model calls with the same digest asked the same."""
WORKER: Final = "waypost.worker"
MODEL_CALLS: Final = "waypost.model_calls"
TOOL_CALLS: Final = "waypost.tool_calls"
TOOLS: Final = "waypost.tools"
"""What a reasoning step chose."""
MAX_ATTEMPTS: Final = "waypost.max_attempts"
LIMIT: Final = "waypost.limit"
LIMIT_VALUE: Final = "waypost.limit.value"
LIMIT_MAXIMUM: Final = "waypost.limit.maximum"
RESUMED_BY: Final = "waypost.resumed_by"
SIGNAL_NAME: Final = "waypost.signal.name"
QUESTION: Final = "waypost.question"
