"""The names that OpenTelemetry's conventions for generative AI give to what Waypost measures. Every such metric name is here.

Pinned: github.com/open-telemetry/semantic-conventions-genai at commit `CONVENTIONS_COMMIT`. All of it is marked "Development" there and
will change; a change of names is a change of this module, of the dashboards in `k8s/grafana` and of docs/metrics.md, and of nothing else.
"""

from __future__ import annotations

from waypost_io.instruments import Instrument, of_convention

CONVENTIONS_COMMIT = "ac48b1f9df15fdf281b96cccf15eb707e1fc1868"

AGENT_NAME = "gen_ai.agent.name"
ERROR_TYPE = "error.type"
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
TOKEN_MODALITY = "gen_ai.token.modality"  # noqa: S105 - a name
TOOL_NAME = "gen_ai.tool.name"
WORKFLOW_NAME = "gen_ai.workflow.name"

CHAT = "chat"
"""Value of `gen_ai.operation.name`: how models are asked."""
MODALITY_UNKNOWN = "unknown"
"""Value of `gen_ai.token.modality`: providers' counts are recorded as they come, and those do not say."""

_DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_WORKFLOW_BUCKETS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
_CALLS_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
_INFERENCE = (OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL, RESPONSE_MODEL)

INFERENCE_DURATION = of_convention(
    "gen_ai.client.inference.duration", "histogram", "s", "Duration of a model call.", (*_INFERENCE, ERROR_TYPE), _DURATION_BUCKETS
)
FIRST_CHUNK = of_convention(
    "gen_ai.client.inference.time_to_first_chunk",
    "histogram",
    "s",
    "Time to the first chunk of a streamed answer.",
    _INFERENCE,
    _DURATION_BUCKETS,
)
INPUT_TOKENS = of_convention(
    "gen_ai.client.inference.usage.input_tokens", "counter", "{token}", "Input tokens, cached ones too.", (*_INFERENCE, TOKEN_MODALITY)
)
OUTPUT_TOKENS = of_convention(
    "gen_ai.client.inference.usage.output_tokens",
    "counter",
    "{token}",
    "Output tokens, those of reasoning too.",
    (*_INFERENCE, TOKEN_MODALITY),
)
CACHED_TOKENS = of_convention(
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "counter",
    "{token}",
    "Input tokens read from the provider's cache.",
    (*_INFERENCE, TOKEN_MODALITY),
)
REASONING_TOKENS = of_convention(
    "gen_ai.client.inference.usage.reasoning.output_tokens",
    "counter",
    "{token}",
    "Output tokens of reasoning.",
    (*_INFERENCE, TOKEN_MODALITY),
)
INVOKE_AGENT_DURATION = of_convention(
    "gen_ai.invoke_agent.duration", "histogram", "s", "From a run's start to its end.", (AGENT_NAME, ERROR_TYPE), _DURATION_BUCKETS
)
INFERENCE_CALLS = of_convention(
    "gen_ai.invoke_agent.inference_calls", "histogram", "{inference_call}", "Model calls of a run.", (AGENT_NAME,), _CALLS_BUCKETS
)
TOOL_CALLS = of_convention(
    "gen_ai.invoke_agent.tool_calls", "histogram", "{tool_call}", "Tool calls of a run.", (AGENT_NAME,), _CALLS_BUCKETS
)
EXECUTE_TOOL_DURATION = of_convention(
    "gen_ai.execute_tool.duration",
    "histogram",
    "s",
    "Execution of a tool call, without its waits.",
    (TOOL_NAME, AGENT_NAME, ERROR_TYPE),
    _DURATION_BUCKETS,
)
INVOKE_WORKFLOW_DURATION = of_convention(
    "gen_ai.invoke_workflow.duration",
    "histogram",
    "s",
    "From the start to the end of a run that no other run started.",
    (WORKFLOW_NAME, ERROR_TYPE),
    _WORKFLOW_BUCKETS,
)

INSTRUMENTS: tuple[Instrument, ...] = (
    INFERENCE_DURATION,
    FIRST_CHUNK,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    CACHED_TOKENS,
    REASONING_TOKENS,
    INVOKE_AGENT_DURATION,
    INFERENCE_CALLS,
    TOOL_CALLS,
    EXECUTE_TOOL_DURATION,
    INVOKE_WORKFLOW_DURATION,
)
