"""The metrics that OpenTelemetry's conventions for generative AI define, with their buckets. Their names are in `waypost_core.genai`,
pinned to a commit; docs/metrics.md and the dashboards in `k8s/grafana` follow from this module.
"""

from __future__ import annotations

from waypost_core import genai
from waypost_core.genai import (
    AGENT_NAME,
    ERROR_TYPE,
    OPERATION_NAME,
    PROVIDER_NAME,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    TOKEN_MODALITY,
    TOOL_NAME,
    WORKFLOW_NAME,
)
from waypost_io.instruments import Instrument, of_convention

MODALITY_UNKNOWN = "unknown"
"""Value of `gen_ai.token.modality`: providers' counts are recorded as they come, and those do not say."""

_DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_WORKFLOW_BUCKETS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
_CALLS_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
_INFERENCE = (OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL, RESPONSE_MODEL)

INFERENCE_DURATION = of_convention(
    genai.METRIC_INFERENCE_DURATION, "histogram", "s", "Duration of a model call.", (*_INFERENCE, ERROR_TYPE), _DURATION_BUCKETS
)
FIRST_CHUNK = of_convention(
    genai.METRIC_FIRST_CHUNK,
    "histogram",
    "s",
    "Time to the first chunk of a streamed answer.",
    _INFERENCE,
    _DURATION_BUCKETS,
)
INPUT_TOKENS = of_convention(
    genai.METRIC_INPUT_TOKENS, "counter", "{token}", "Input tokens, cached ones too.", (*_INFERENCE, TOKEN_MODALITY)
)
OUTPUT_TOKENS = of_convention(
    genai.METRIC_OUTPUT_TOKENS,
    "counter",
    "{token}",
    "Output tokens, those of reasoning too.",
    (*_INFERENCE, TOKEN_MODALITY),
)
CACHED_TOKENS = of_convention(
    genai.METRIC_CACHE_READ_INPUT_TOKENS,
    "counter",
    "{token}",
    "Input tokens read from the provider's cache.",
    (*_INFERENCE, TOKEN_MODALITY),
)
REASONING_TOKENS = of_convention(
    genai.METRIC_REASONING_OUTPUT_TOKENS,
    "counter",
    "{token}",
    "Output tokens of reasoning.",
    (*_INFERENCE, TOKEN_MODALITY),
)
INVOKE_AGENT_DURATION = of_convention(
    genai.METRIC_INVOKE_AGENT_DURATION, "histogram", "s", "From a run's start to its end.", (AGENT_NAME, ERROR_TYPE), _DURATION_BUCKETS
)
INFERENCE_CALLS = of_convention(
    genai.METRIC_INVOKE_AGENT_INFERENCE_CALLS, "histogram", "{inference_call}", "Model calls of a run.", (AGENT_NAME,), _CALLS_BUCKETS
)
TOOL_CALLS = of_convention(
    genai.METRIC_INVOKE_AGENT_TOOL_CALLS, "histogram", "{tool_call}", "Tool calls of a run.", (AGENT_NAME,), _CALLS_BUCKETS
)
EXECUTE_TOOL_DURATION = of_convention(
    genai.METRIC_EXECUTE_TOOL_DURATION,
    "histogram",
    "s",
    "Execution of a tool call, without its waits.",
    (TOOL_NAME, AGENT_NAME, ERROR_TYPE),
    _DURATION_BUCKETS,
)
INVOKE_WORKFLOW_DURATION = of_convention(
    genai.METRIC_INVOKE_WORKFLOW_DURATION,
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
