"""`OpenAIModel`: OpenAI's chat completions, and every server that speaks the same (vLLM, Ollama, llama.cpp, most others), by `base_url`.

    OpenAIModel("gpt-5.4-mini")                                             OPENAI_API_KEY
    OpenAIModel("qwen3:8b", base_url="http://127.0.0.1:11434/v1", options=ModelOptions(price=FREE))

Needs the extra `waypost[openai]`; the SDK is imported at the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from waypost.models.messages import (
    AssistantMessage,
    Delta,
    Finish,
    Message,
    ModelRequest,
    ModelResponse,
    TextDelta,
    TokenCounts,
    ToolMessage,
    ToolUse,
    ToolUseDelta,
    UserMessage,
)
from waypost.models.protocol import ModelCut
from waypost.models.providing import ProviderModel, clean, document_of, given_back, object_of, opaque_of
from waypost_proto.codec import encode

_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls"}
_ALIVE = TextDelta(text="")
_REASONING = ("reasoning_content", "reasoning")
"""Where compatible servers put what a model thought; given back as it came."""


class OpenAIModel(ProviderModel):
    """A model of OpenAI, or of a compatible server.

    `api_key` is `OPENAI_API_KEY` unless given; a server of one's own mostly wants none. `provider` is the name under which the price table
    and traces know it. Raises `Misconfigured` where the SDK is not installed.
    """

    sdk = "openai"

    def _new_client(self, sdk: Any, **settings: Any) -> Any:
        if self.base_url is not None and settings["api_key"] is None:
            settings["api_key"] = "none"  # the SDK wants one; a server that does too says so
        return sdk.AsyncOpenAI(**settings)

    async def _whole(self, client: Any, request: ModelRequest) -> ModelResponse:
        answer = await client.chat.completions.create(**self._body(request))
        if not getattr(answer, "choices", None):
            raise ModelCut(f"{self._where()} answered without any choice", billed=True)
        choice = answer.choices[0]
        heard = _Heard()
        heard.begins(answer)
        heard.usage = answer.usage
        heard.takes(choice.message, None)
        heard.finish = choice.finish_reason or "stop"
        return heard.response(self)

    async def _streamed(self, client: Any, request: ModelRequest, on_delta: Callable[[Delta], None]) -> ModelResponse:
        heard = _Heard()
        body = self._body(request) | {"stream": True, "stream_options": {"include_usage": True}}
        async with await client.chat.completions.create(**body) as stream:
            async for chunk in stream:
                heard.begins(chunk)
                heard.usage = chunk.usage or heard.usage
                for choice in chunk.choices[:1]:
                    heard.takes(choice.delta, on_delta)
                    heard.finish = choice.finish_reason or heard.finish
        if not heard.finish:
            raise self._unfinished(heard.size())
        return heard.response(self)

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        messages = [{"role": "system", "content": request.instructions}] if request.instructions else []
        body: dict[str, Any] = {"model": self.name, "messages": messages + [self._message(m) for m in request.messages]}
        most = request.max_output_tokens or self.options.max_output_tokens
        body["max_completion_tokens" if self.base_url is None else "max_tokens"] = most
        if request.tools:
            body["tools"] = [
                {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": document_of(t.parameters)}}
                for t in request.tools
            ]
            if request.tool_choice != "auto":
                body["tool_choice"] = request.tool_choice
        if request.output_schema is not None:
            schema = document_of(request.output_schema)
            form = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop"] = list(request.stop)
        if {"max_tokens", "max_completion_tokens"} & self.parameters.keys():
            body = {key: value for key, value in body.items() if key not in ("max_tokens", "max_completion_tokens")}
        return body | {"extra_body": self.parameters} if self.parameters else body

    def _message(self, message: Message) -> dict[str, Any]:
        match message:
            case UserMessage(text=text):
                return {"role": "user", "content": text}
            case ToolMessage(id=use, text=text, failed=failed):
                return {"role": "tool", "tool_call_id": use, "content": f"error: {text}" if failed else text}
            case AssistantMessage(text=text, tool_uses=uses):
                made: dict[str, Any] = {"role": "assistant", "content": text or (None if uses else "")}
                if uses:
                    made["tool_calls"] = [{"id": u.id, "type": "function", "function": _function(u)} for u in uses]
                return made | (given_back(self, message) or {})


class _Heard:
    """An answer as it arrives, whole or in pieces."""

    def __init__(self) -> None:
        self.usage: Any = None
        self.finish = ""
        self._id = self._model = ""
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: dict[str, list[str]] = {}
        self._uses: dict[int, list[str]] = {}

    def begins(self, answer: Any) -> None:
        self._id = self._id or answer.id or ""
        self._model = self._model or answer.model or ""

    def takes(self, part: Any, on_delta: Callable[[Delta], None] | None) -> None:
        """A message, or a piece of one."""
        if part is None:
            return
        if part.content:
            self._text.append(part.content)
        if part.refusal:
            self._refusal.append(part.refusal)
        for name in _REASONING:
            thought = getattr(part, name, None)
            if isinstance(thought, str) and thought:
                self._reasoning.setdefault(name, []).append(thought)
        for number, call in enumerate(part.tool_calls or ()):
            self._takes_use(getattr(call, "index", number), call, on_delta)
        if on_delta is not None and not part.tool_calls:
            on_delta(TextDelta(text=clean(part.content)) if part.content else _ALIVE)

    def _takes_use(self, index: int, call: Any, on_delta: Callable[[Delta], None] | None) -> None:
        function = call.function
        name, arguments = (function.name or "", function.arguments or "") if function is not None else ("", "")
        use = self._uses.setdefault(index, ["", "", ""])
        use[0] = use[0] or call.id or ""
        first = bool(name) and not use[1]
        use[1] = use[1] or name
        use[2] += arguments
        if on_delta is not None:
            on_delta(ToolUseDelta(index=index, name=name if first else "", arguments=clean(arguments)))

    def size(self) -> int:
        return sum(map(len, self._text)) + sum(len(use[2]) for use in self._uses.values())

    def response(self, model: OpenAIModel) -> ModelResponse:
        uses = tuple(
            ToolUse(id=use[0] or f"{self._id or 'call'}-{index}", name=clean(use[1]), arguments=clean(use[2]))
            for index, use in sorted(self._uses.items())
        )
        refusal = "".join(self._refusal)
        finish: Finish = _FINISH.get(self.finish, "refusal" if self.finish == "content_filter" else "stop")
        finish = "refusal" if refusal else "tool_calls" if uses and finish == "stop" else finish
        reasoning = {name: clean("".join(parts)) for name, parts in self._reasoning.items()}
        return ModelResponse(
            message=AssistantMessage(
                text=clean("".join(self._text) or refusal),
                tool_uses=uses,
                opaque=opaque_of(model, reasoning) if reasoning else None,
            ),
            finish=finish,
            usage=_counts(self.usage),
            answered_by=self._model,
            response_id=self._id,
        )


def is_strict(schema: Any) -> bool:
    """Whether OpenAI can hold a model to the schema exactly: every object is closed and has only required fields."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        names = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(names):
            return False
    return all(map(is_strict, schema.values()))


def _function(use: ToolUse) -> dict[str, str]:
    return {"name": use.name, "arguments": encode(object_of(use.arguments)).decode()}


def _counts(usage: Any) -> TokenCounts:
    if usage is None:
        return TokenCounts()
    read, wrote = usage.prompt_tokens_details, usage.completion_tokens_details
    return TokenCounts(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=(getattr(read, "cached_tokens", None) or 0),
        reasoning_tokens=(getattr(wrote, "reasoning_tokens", None) or 0),
        cache_write_tokens=(getattr(read, "cache_write_tokens", None) or 0),
    )


__all__ = ["OpenAIModel", "is_strict"]
